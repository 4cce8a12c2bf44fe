"""Encoding a 3:2 photo in its own aspect against the padded square, fused RepViT, float32 on the CPU.

For each model:
- cpu_saved, wall_saved: share of the encoder's time that is saved, of the median call, in processor and in wall-clock seconds;
  the ways are called in turn, each round in the other direction, in one process. Processor seconds are disturbed less by other
  programs. The input is a normalised tensor; reading and resizing a photo are not in it.
- cpu_seconds, wall_seconds: the medians themselves, of the padded square and of the rectangle.
- photo_error, padding_error: the embedding's difference, root mean square by that of the padded one's values, at the photo's
  positions and at those of padding.

And for a trained model, on photos of at least 4:3, their first 8 objects: mask_iou_box and mask_iou_point, how well the single
masks of padded and unpadded agree on boxes and on points at boxes' centres (mean, lowest of the boxes').

load_1_minute is the machine's at the start and at the end.
Run: python -m benchmarks.no_padding [--json] [--models repvit_m0_9@1024 ...] [--margin 3] [--threads 1] [--rounds 9]
[--agree RUN@SIZE ...] [--data COCO.json] [--photos 20]. Some 2 minutes of one core at 1024 px.
"""

import argparse
import os
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import encoders
from benchmarks.output import print_facts
from benchmarks.timing import CpuTimed, alternate
from distill.jobs.sample_data import SAMPLE, resolve_data
from encoders.export.untrained import untrained_subject
from encoders.geometry import embedding_shape, resize_image
from encoders.image_encoders.unpadded import MARGIN, UnpaddedEncoder, rectangle
from encoders.preprocess import normalize_padded, pad_to, pad_to_square
from encoders.samples.overlap import mask_iou
from eval_zeroshot import open_dataset

MODELS = ("repvit_m0_9@1024", "repvit_m1_1@1024", "repvit_m0_6@1024", "repvit_m0_6@256")
PHOTO = SAMPLE / "val" / "images" / "000000311303.jpg"  # 640 x 427
OBJECTS = 8  # of a photo
MAX_ASPECT = 0.76  # short side by long side of a photo that agreement is measured on


def time_model(text: str, *, margin: int, rounds: int) -> dict[str, float]:
    """Times and errors of ARCHITECTURE@SIZE with random weights, or of a trained RUN@SIZE."""
    name, _, size = text.rpartition("@")
    image_size = int(size)
    is_architecture = name in encoders.list_models()
    sam = untrained_subject(name, image_size=image_size) if is_architecture else encoders.load(name, image_size=image_size)
    encoder = encoders.fuse(sam).image_encoder
    unpadded = UnpaddedEncoder(encoder, image_size=image_size, margin=margin)
    photo = np.array(Image.open(PHOTO).convert("RGB"))
    resized = resize_image(photo, image_size=image_size)
    shape = resized.shape[:2]
    frame = normalize_padded(pad_to_square(resized, image_size=image_size)[None], [shape])
    cut = normalize_padded(pad_to(resized, shape=rectangle(shape, image_size=image_size))[None], [shape])
    ways = {"padded": CpuTimed(partial(encoder, frame)), "unpadded": CpuTimed(partial(unpadded, cut))}
    with torch.inference_mode():
        wall = alternate(ways, rounds=rounds)
        expected, given = encoder(frame), unpadded(cut)
    cpu = {way: timed.cpu_seconds for way, timed in ways.items()}
    rows, _ = embedding_shape(shape)
    return {
        "cpu_saved": 1 - cpu["unpadded"] / cpu["padded"],
        "wall_saved": 1 - wall["unpadded"] / wall["padded"],
        **{f"cpu_seconds_{way}": value for way, value in cpu.items()},
        **{f"wall_seconds_{way}": value for way, value in wall.items()},
        "photo_error": _error(given[:, :, :rows], expected[:, :, :rows]),
        "padding_error": _error(given[:, :, rows:], expected[:, :, rows:]),
    }


def _error(given: Tensor, expected: Tensor) -> float:
    return float((given - expected).norm() / expected.norm())


def agreement(text: str, *, margin: int, data: str, photos: int) -> dict[str, float]:
    """How well a trained RUN@SIZE agrees with itself."""
    name, _, size = text.rpartition("@")
    sam = encoders.fuse(encoders.load(name, image_size=int(size)))
    padded, unpadded = encoders.Predictor(sam), encoders.Predictor(sam, padding=False)
    assert isinstance(unpadded._unpadded, UnpaddedEncoder)
    unpadded._unpadded.margin = margin
    wide = (sample for sample in open_dataset(resolve_data(data)) if len(sample.boxes) and is_wide(sample.image))
    boxes_iou: list[float] = []
    points_iou: list[float] = []
    for sample in islice(wide, photos):
        boxes = np.asarray(sample.boxes, np.float32)[:OBJECTS]
        points = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        labels = np.ones((len(points), 1), int)
        for predictor in (padded, unpadded):
            predictor.set_image(sample.image)
        by_box, by_point = encoders.Prompts(boxes=boxes), encoders.Prompts(points=points, labels=labels)
        for found, prompts in ((boxes_iou, by_box), (points_iou, by_point)):
            one, other = (p.predict(prompts, multimask=False).masks[:, 0] for p in (padded, unpadded))
            found.extend(mask_iou(one, other).tolist())
    return {
        "mask_iou_box": float(np.mean(boxes_iou)),
        "mask_iou_box_lowest": float(np.min(boxes_iou)),
        "mask_iou_point": float(np.mean(points_iou)),
        "objects": len(boxes_iou),
    }


def is_wide(image: np.ndarray) -> bool:
    return min(image.shape[:2]) <= MAX_ASPECT * max(image.shape[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--agree", nargs="*", default=[])
    parser.add_argument("--data", default="sample:val")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--margin", type=int, default=MARGIN)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts: dict[str, Any] = {name: getattr(options, name) for name in ("margin", "threads", "rounds")}
    facts["load_1_minute_start"] = os.getloadavg()[0]
    for text in options.models:
        found = time_model(text, margin=options.margin, rounds=options.rounds)
        facts |= {f"{text} {name}": value for name, value in found.items()}
    for text in options.agree:
        found = agreement(text, margin=options.margin, data=options.data, photos=options.photos)
        facts |= {f"{text} {name}": value for name, value in found.items()}
    facts["load_1_minute_end"] = os.getloadavg()[0]
    print_facts(facts, as_json=options.json)


if __name__ == "__main__":
    main()
