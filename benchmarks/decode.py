"""Box prompts on one photo: `encoders.Predictor` against a loop over segment_anything's `SamPredictor`, with the same decoder.

- speedup: masks per second, ours / SamPredictor's, the median pass of each, in turn; cpu_speedup is the same in processor
  seconds, which other programs on the machine disturb less. A pass is all boxes, one mask each (`multimask_output=False`) at
  the photo's resolution, with the image already set; SamPredictor takes one box a call, ours all in one.
- equal_masks: whether all masks are the same; different_pixels: of all masks' pixels together, those that are not.
- max_abs_logit_difference: between the low-resolution logits, beside logit_rms, their root mean square.
- mask_share: of all pixels, those in a mask; none or all would be no test of the masks.

float32 on the CPU. The photo is a shipped one of COCO, 640 x 427, encoded by sam_demo; the decoder has sam_demo's weights, or
with --weights random random ones. The time of a decoder does not depend on them.
Run: python -m benchmarks.decode [--json] [--image-size 1024] [--boxes 16] [--threads N] [--rounds 5] [--weights sam_demo].
16 boxes at 1024 px take some 3 s of one core a round.
"""

import argparse
from typing import Any

import numpy as np
import torch
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as OriginalSam
from torch import nn

import encoders
from benchmarks.output import print_facts
from benchmarks.random_weights import randomize
from benchmarks.timing import CpuTimed, alternate
from distill.jobs.sample_data import SAMPLE
from encoders.geometry import resized_shape

PHOTO = SAMPLE / "val" / "images" / "000000311303.jpg"
MIN_SIDE = 32  # pixels, of a box


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed."""
    image = np.array(Image.open(PHOTO).convert("RGB"))
    sam = encoders.load("sam_demo", image_size=options.image_size)
    ours = encoders.Predictor(sam)
    ours.set_image(image)
    if options.weights == "random":
        randomize(nn.ModuleList([sam.prompt_encoder, sam.mask_decoder]))
    boxes = random_boxes(ours.shape, count=options.boxes)
    ways = {"sam_predictor": Loop(as_sam_predictor(ours), boxes), "ours": AllAtOnce(ours, boxes)}
    timed = {name: CpuTimed(way) for name, way in ways.items()}
    seconds = alternate(timed, rounds=options.rounds)
    cpu_seconds = {name: way.cpu_seconds for name, way in timed.items()}
    expected, found = ways["sam_predictor"], ways["ours"]
    different = int((expected.masks != found.masks).sum())
    return {
        "speedup": seconds["sam_predictor"] / seconds["ours"],
        "cpu_speedup": cpu_seconds["sam_predictor"] / cpu_seconds["ours"],
        "equal_masks": different == 0,
        "different_pixels": different,
        "max_abs_logit_difference": float(np.abs(expected.logits - found.logits).max()),
        "logit_rms": float(np.sqrt(np.square(expected.logits).mean())),
        "mask_share": float(expected.masks.mean()),
        **{f"{name}_masks_per_second": options.boxes / value for name, value in seconds.items()},
        **{f"{name}_cpu_seconds_per_mask": value / options.boxes for name, value in cpu_seconds.items()},
        "photo": f"{image.shape[1]} x {image.shape[0]}",
        **{name: getattr(options, name) for name in ("image_size", "boxes", "threads", "rounds", "weights")},
    }


def as_sam_predictor(predictor: encoders.Predictor) -> SamPredictor:
    """segment_anything's predictor with the same prompt encoder, decoder and embedding set."""
    sam = predictor.sam
    never_called = nn.Module()  # the embedding is there already
    never_called.img_size = sam.image_size
    other = SamPredictor(OriginalSam(never_called, sam.prompt_encoder, sam.mask_decoder).eval())
    other.features, other.is_image_set = predictor.embedding, True
    other.original_size = predictor.shape
    other.input_size = resized_shape(predictor.shape, image_size=sam.image_size)
    return other


class Loop:
    """One box a call; `masks` (P, H, W) and `logits` (P, S/4, S/4) are the latest."""

    def __init__(self, predictor: SamPredictor, boxes: np.ndarray) -> None:
        self.predictor, self.boxes = predictor, boxes

    def __call__(self) -> None:
        answers = [self.predictor.predict(box=box, multimask_output=False) for box in self.boxes]
        self.masks = np.stack([masks[0] for masks, _, _ in answers])
        self.logits = np.stack([logits[0] for _, _, logits in answers])


class AllAtOnce:
    """All boxes in one call; the same."""

    def __init__(self, predictor: encoders.Predictor, boxes: np.ndarray) -> None:
        self.predictor, self.boxes = predictor, boxes

    def __call__(self) -> None:
        answer = self.predictor.predict(encoders.Prompts(boxes=self.boxes), multimask=False)
        self.masks, self.logits = answer.masks[:, 0], answer.logits[:, 0]


def random_boxes(shape: tuple[int, int], *, count: int) -> np.ndarray:
    """(P, 4) float xyxy in pixels of a photo of `shape` (height, width), the same ones each time."""
    generator = np.random.default_rng(0)
    size = np.asarray([shape[1], shape[0]])
    sides = generator.uniform(MIN_SIDE, size / 2, (count, 2))
    corners = generator.uniform(0, size - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def main() -> None:
    """Print a line a figure, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--image-size", type=int, default=1024, help="pixels, a multiple of 64")
    parser.add_argument("--boxes", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5, help="each way's passes; the median counts")
    parser.add_argument("--weights", choices=("sam_demo", "random"), default="sam_demo", help="of the decoder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print_facts(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
