"""Time of the BSDS500 boundary benchmark per photo, annotator and level, with one process and with all cores.

The maps are the gradient of each photo, thinned by `edge_nms`: edges nearly everywhere at the low levels, the slow case.
Reading files counts. CPU time is given beside wall time, since a busy machine only lengthens the latter; memory is the peak of
one process.

Run: python -m benchmarks.edges --data BSDS500 [--photos 10] [--json]
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from distill.cli.edges import usable_cores
from eval_zeroshot.datasets.bsds import BsdsDataset
from eval_zeroshot.suites.edges import score_predictions
from eval_zeroshot.suites.edges.prediction import THRESHOLDS
from eval_zeroshot.suites.edges.suppression import edge_nms

OFFICIAL_SECONDS = 0.1  # the official C++ matcher, per photo, annotator and level on one core


def run(data: Path, *, photos: int) -> dict[str, Any]:
    """Seconds per photo, annotator and level, and how many times 0.1 s is faster."""
    dataset = BsdsDataset(data, split="test")
    out: dict[str, Any] = {"thresholds": THRESHOLDS, "cores": usable_cores()}
    with tempfile.TemporaryDirectory() as folder:
        annotators = 0
        for index in range(min(photos, len(dataset))):
            sample = dataset[index]
            annotators += len(sample.boundaries)
            edges = edge_nms(ndimage.gaussian_gradient_magnitude(sample.image.mean(axis=2), 2))
            Image.fromarray(np.asarray(np.round(255 * edges), np.uint8)).save(Path(folder) / f"{sample.key}.png")
        out |= {"photos": min(photos, len(dataset)), "annotators": annotators}
        matchings = annotators * THRESHOLDS
        for name, processes in (("one process", 1), ("all cores", out["cores"])):
            begin, used = time.perf_counter(), _cpu_seconds()
            report = score_predictions(folder, data=data, processes=processes)
            seconds, cpu = time.perf_counter() - begin, _cpu_seconds() - used
            out[name] = {
                "wall_ms": round(1000 * seconds / matchings, 3),
                "cpu_ms": round(1000 * cpu / matchings, 3),
                "times_faster_than_official": {
                    "wall": round(OFFICIAL_SECONDS * matchings / seconds, 1),
                    "cpu": round(OFFICIAL_SECONDS * matchings / cpu, 1),
                },
                "ODS": report.scores.ods.f,
            }
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return out | {"peak_mib": round(max(peaks) / 1024)}


def _cpu_seconds() -> float:
    """Processor time of this process and of its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Print the figures, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="BSDS500's folder")
    parser.add_argument("--photos", type=int, default=10, help="the first so many photos of the test split")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    result = run(arguments.data, photos=arguments.photos)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
