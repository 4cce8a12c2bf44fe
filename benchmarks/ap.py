"""Average precision in numpy against pycocotools: the same numbers, how much sooner.

Photos of a COCO-format file, repeated under new ids until there are enough, with detections made from their objects: moved
by up to 12 px, a third of another category, scores at random; seeded. Both backends start from records in memory and
end with the twelve numbers, so polygons to RLE, areas and overlaps are within the time of both.

Run: python -m benchmarks.ap [--json] [--data COCO_JSON] [--photos N] [--detections N] [--rounds N]
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import alternate
from distill.jobs.sample_data import resolve_data
from encoders.samples.rle import decode_segmentation, encode_mask
from eval_zeroshot.ap.annotations import Annotations, read_annotations
from eval_zeroshot.ap.backends import BACKENDS, average_precision
from eval_zeroshot.ap.detections import IouType

MOVED_PIXELS = 12
TYPES: tuple[IouType, ...] = ("segm", "bbox")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--data", type=Path, default=resolve_data("sample:val"), help="a COCO-format json")
    parser.add_argument("--photos", type=int, default=188)
    parser.add_argument("--detections", type=int, default=100, help="on each photo")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    facts = measure(options.data, photos=options.photos, detections=options.detections, rounds=options.rounds)
    print(json.dumps(facts) if options.json else "\n".join(f"{name}: {value:.4g}" for name, value in facts.items()))


def measure(data: Path, *, photos: int, detections: int, rounds: int) -> dict[str, float]:
    """Seconds of both backends for masks and for boxes, their ratio, and the greatest difference of the twelve numbers."""
    truth = enough(read_annotations(data), photos=photos)
    found = detect(truth, each=detections)
    facts: dict[str, float] = {"photos": photos, "detections": len(found), "rounds": rounds}
    for iou_type in TYPES:
        field = "segmentation" if iou_type == "segm" else "bbox"
        results = [{name: record[name] for name in ("image_id", "category_id", "score", field)} for record in found]
        answers: dict[str, dict[str, float | None]] = {}

        def score(backend: str, iou_type: IouType = iou_type, results: Any = results, answers: Any = answers) -> None:
            answers[backend] = average_precision(truth, results, iou_type=iou_type, backend=backend)

        seconds = alternate({name: partial(score, name) for name in BACKENDS}, rounds=rounds)
        fast, reference = ([-1.0 if v is None else v for v in answers[name].values()] for name in BACKENDS)
        facts |= {f"{iou_type}_{name}_seconds": seconds[name] for name in BACKENDS}
        facts[f"{iou_type}_speedup"] = seconds["reference"] / seconds["fast"]
        facts[f"{iou_type}_difference"] = float(np.abs(np.subtract(fast, reference)).max())
    return facts


def enough(truth: Annotations, *, photos: int) -> Annotations:
    """The first `photos` photos of a data set that starts over where it ends."""
    images, annotations = [], []
    for number in range(photos):
        image = truth.images[number % len(truth.images)]
        images.append(image | {"id": number})
        annotations += [a | {"image_id": number} for a in truth.annotations if a["image_id"] == image["id"]]
    return Annotations(kind="coco", name=truth.name, images=images, annotations=annotations, categories=truth.categories)


def detect(truth: Annotations, *, each: int) -> list[dict[str, Any]]:
    """`each` results with mask and box on every photo, made from the objects of the whole data set."""
    rng = np.random.default_rng(0)
    categories = [category["id"] for category in truth.categories]
    shapes = {image["id"]: (int(image["height"]), int(image["width"])) for image in truth.images}
    objects: dict[int, list[dict[str, Any]]] = {}
    for annotation in truth.annotations:
        objects.setdefault(annotation["image_id"], []).append(annotation)
    found = []
    for image_id, (height, width) in shapes.items():
        mine = objects.get(image_id) or [middle(height, width) | {"category_id": categories[0]}]
        masks = [decode_segmentation(a["segmentation"], shape=shapes[image_id]) for a in mine]
        for _ in range(each):
            chosen = int(rng.integers(len(mine)))
            dy, dx = (int(step) for step in rng.integers(-MOVED_PIXELS, MOVED_PIXELS + 1, 2))
            x, y, *sides = mine[chosen]["bbox"]
            category = mine[chosen]["category_id"] if rng.random() < 2 / 3 else int(rng.choice(categories))
            found.append(
                {
                    "image_id": image_id,
                    "category_id": category,
                    "score": float(rng.random()),
                    "bbox": [x + dx, y + dy, *sides],
                    "segmentation": encode_mask(np.roll(masks[chosen], (dy, dx), axis=(0, 1))),
                }
            )
    return found


def middle(height: int, width: int) -> dict[str, Any]:
    """What is detected on a photo without objects: a quarter of it."""
    left, top, right, bottom = width // 4, height // 4, 3 * width // 4, 3 * height // 4
    polygon = [left, top, right, top, right, bottom, left, bottom]
    return {"bbox": [left, top, right - left, bottom - top], "segmentation": [polygon]}


if __name__ == "__main__":
    main()
