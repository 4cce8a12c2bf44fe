"""How much of precompute's time is not the teacher's: reading, resizing, JPEG, coding and writing.

Photos are real ones brought to SA-1B's 2250 x 1500 pixels; the teacher has random weights. Photos are read in threads beside
the teacher, and may take its cores. So the share is given in three ways:
- share_outside: wall seconds of the pass that are not spent waiting for the teacher, as precompute itself reports them.
- share_over_teacher: wall seconds of the pass above those of the teacher alone on the same batches, the two in turn: what
  reading takes away from the teacher counts here. Medians, so other programs on the machine can make it negative.
- cpu_share_over_teacher: the same in processor seconds of the whole process.

Run: python -m benchmarks.precompute [--json] [--arch sam_vit_b] [--image-size 1024] [--codec int8] [--photos 8] [--batch 4]
[--threads N] [--rounds 3] [--folder FOLDER_OF_PHOTOS]. ViT-B takes some 20 s of one core a photo and round.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

import encoders
import shards
from benchmarks.output import print_facts
from benchmarks.photos import SHIPPED_PHOTOS, make_photos
from benchmarks.random_weights import randomize
from benchmarks.timing import CpuTimed, alternate
from shards.cache.stored_photo import StoredPhoto, store_item
from shards.pipeline.teacher_pass import embed


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed; `folder` is empty."""
    source = shards.open_source(make_photos(folder / "photos", start=options.folder, count=options.photos))
    teacher = encoders.build_sam(options.arch, image_size=options.image_size)
    randomize(teacher)
    photos = [store_item(source, item, image_size=options.image_size) for item in source.items()]
    stored = [photo for photo in photos if isinstance(photo, StoredPhoto)]
    summaries: list[shards.PrecomputeSummary] = []

    def whole() -> None:
        out = folder / "cache"
        shutil.rmtree(out, ignore_errors=True)
        summaries.append(
            shards.precompute(
                source,
                teacher=teacher,
                teacher_name=options.arch,
                teacher_sha256="0" * 64,
                out=out,
                codec=options.codec,
                batch_size=options.batch,
                codec_gate=False,  # once a cache, not once a photo; random weights would not pass it
            )
        )

    def alone() -> None:
        for first in range(0, len(stored), options.batch):
            embed(teacher, stored[first : first + options.batch])

    ways = {"precompute": CpuTimed(whole), "teacher": CpuTimed(alone)}
    seconds = alternate(ways, rounds=options.rounds)
    cpu_seconds = {name: way.cpu_seconds for name, way in ways.items()}
    return {
        "share_outside": statistics.median(1 - one.teacher_seconds / one.seconds for one in summaries[1:]),
        "share_over_teacher": 1 - seconds["teacher"] / seconds["precompute"],
        "cpu_share_over_teacher": 1 - cpu_seconds["teacher"] / cpu_seconds["precompute"],
        **{f"{name}_seconds_per_photo": value / len(stored) for name, value in seconds.items()},
        **{f"{name}_cpu_seconds_per_photo": value / len(stored) for name, value in cpu_seconds.items()},
        **{name: getattr(options, name) for name in ("arch", "image_size", "codec", "photos", "batch", "threads", "rounds")},
    }


def main() -> None:
    """Print a line a figure, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--arch", choices=encoders.list_models(), default="sam_vit_b")
    parser.add_argument("--image-size", type=int, default=1024, help="pixels, a multiple of 64")
    parser.add_argument("--codec", choices=shards.CODECS, default="int8")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the teacher")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=SHIPPED_PHOTOS, help="photos (*.jpg) to start from")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(Path(folder), options)
    print_facts(facts, as_json=options.json)


if __name__ == "__main__":
    main()
