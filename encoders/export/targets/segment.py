"""Masks from points and boxes in a photo, with three packages: numpy, pillow, onnxruntime.

Copy this file into an app, beside encoder.onnx and decoder.onnx.

    from segment import Segmenter

    segmenter = Segmenter()
    segmenter.set_image("photo.jpg")
    masks, scores, logits = segmenter.predict(box=[120, 40, 380, 300], multimask=False)

From a shell:

    python segment.py photo.jpg --box 120 40 380 300 --out mask.png
    python segment.py photo.jpg --point 250 180 --background 20 20 --out mask.png

Source of the arithmetic: segment-anything, `utils/transforms.py` (`ResizeLongestSide`), `modeling/sam.py` (`Sam.preprocess`),
`predictor.py` (`SamPredictor`) and `utils/onnx.py` (`SamOnnxModel`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # RGB, 0-255
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)
PADDING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3  # labels of points
HERE = Path(__file__).resolve().parent


class Segmenter:
    """Encode a photo once, then ask for masks as often as you like.

    Args:
        folder: where encoder.onnx and decoder.onnx are; by default beside this file.
        threads: number of threads; by default ONNX Runtime chooses.
        providers: ONNX Runtime's execution providers, e.g. ["CUDAExecutionProvider", "CPUExecutionProvider"].
    """

    def __init__(
        self,
        folder: str | Path = HERE,
        *,
        threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        self._folder = Path(folder)
        self._options = onnxruntime.SessionOptions()
        if threads is not None:
            self._options.intra_op_num_threads = threads
        self._providers = list(providers)
        self._encoder = self._open("encoder.onnx")
        self._decoder: Any = None
        self.image_size: int = self._encoder.get_inputs()[0].shape[2]
        self.shape: tuple[int, int] | None = None
        self.embedding: np.ndarray | None = None

    def set_image(self, photo: str | Path | Image.Image | np.ndarray) -> None:
        """Encode a photo: a path, a PIL image, or (H, W, 3) uint8 RGB. A file is turned upright by its EXIF data."""
        pixels = read_photo(photo)
        height, width = pixels.shape[:2]
        new_height, new_width = self._resized(height, width)
        if (new_height, new_width) != (height, width):
            pixels = np.asarray(Image.fromarray(pixels).resize((new_width, new_height), Image.Resampling.BILINEAR))
        frame = np.zeros((1, 3, self.image_size, self.image_size), np.float32)
        frame[0, :, :new_height, :new_width] = ((pixels - PIXEL_MEAN) / PIXEL_STD).transpose(2, 0, 1)
        (self.embedding,) = self._encoder.run(None, {self._encoder.get_inputs()[0].name: frame})
        self.shape = (height, width)

    def predict(
        self,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask_input: np.ndarray | None = None,
        *,
        multimask: bool = True,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict masks of one object of the photo that is set.

        Args:
            points: (N, 2) xy in pixels of the photo; labels: (N,), 1 on the object, 0 on the background.
            box: (4,) x0 y0 x1 y1 in pixels of the photo.
            mask_input: (1, S/4, S/4) float32, `logits` of an earlier call with `multimask=False`.
            multimask: True returns three masks, which suits a single point; False one, which suits a box or several points.

        Returns:
            masks (M, H, W) bool, predicted IoU (M,) float32, logits (M, S/4, S/4) float32; M is 3 or 1.

        Raises:
            RuntimeError: no photo is set.
            ValueError: the prompt is empty or has other shapes.
        """
        if self.shape is None:
            raise RuntimeError("no photo is set; call set_image first")
        coords, kinds = prompt_points(points, labels, box)
        height, width = self.shape
        new_height, new_width = self._resized(height, width)
        coords = (coords * (new_width / width, new_height / height)).astype(np.float32)
        masks, scores, logits = self.decode(coords, kinds, mask_input=mask_input, shape=self.shape)
        tokens = slice(1, None) if multimask else slice(0, 1)
        return masks[tokens] > 0, scores[tokens], logits[tokens]

    def decode(
        self, coords: np.ndarray, kinds: np.ndarray, *, shape: tuple[int, int], mask_input: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decode all four masks of a prompt in the input frame.

        Args:
            coords: (N, 2) float32 xy; kinds: (N,) labels.
            shape: height and width of the photo; mask_input: (1, S/4, S/4) float32.

        Returns:
            logits (4, H, W), predicted IoU (4,), logits (4, S/4, S/4); the single mask first.
        """
        if self._decoder is None:
            self._decoder = self._open("decoder.onnx")
        side = self.image_size // 4
        if mask_input is not None and mask_input.shape != (1, side, side):
            raise ValueError(f"mask_input is {mask_input.shape}; expected (1, {side}, {side})")
        given = {
            "image_embeddings": self.embedding,
            "point_coords": coords[None],
            "point_labels": kinds[None].astype(np.float32),
            "mask_input": np.zeros((1, 1, side, side), np.float32) if mask_input is None else mask_input[None],
            "has_mask_input": np.array([mask_input is not None], np.float32),
            "orig_im_size": np.array(shape, np.float32),
        }
        names = ["masks", "iou_predictions", "low_res_masks"]
        masks, scores, logits = self._decoder.run(names, given)
        return masks[0], scores[0], logits[0]

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a photo scaled to long side S."""
        scale = self.image_size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def _open(self, name: str) -> Any:
        path = self._folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; put it beside segment.py, or name the folder that it is in")
        try:
            return onnxruntime.InferenceSession(str(path), self._options, providers=self._providers)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            raise ValueError(f"{path} cannot be opened by ONNX Runtime ({error}); copy it again") from error


def read_photo(photo: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """Return the (H, W, 3) uint8 RGB pixels of a path, a PIL image or an array.

    Raises:
        OSError: the file is missing or is not a photo.
        ValueError: the array has another shape or type.
    """
    if isinstance(photo, (str, Path)):
        with Image.open(photo) as opened:
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    if isinstance(photo, Image.Image):
        return np.array(photo.convert("RGB"))
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"the photo is {photo.shape} {photo.dtype}; expected (H, W, 3) uint8 RGB")
    return photo


def prompt_points(points: Any, labels: Any, box: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 2) and labels (N,) for the decoder: a box becomes two points; without a box a padding point is added.

    Raises:
        ValueError: the prompt is empty or has other shapes.
    """
    if points is None and box is None:
        raise ValueError("no prompt is given; give points with labels, a box, or both")
    coords, kinds = np.zeros((0, 2)), np.zeros(0, np.int64)
    if points is not None:
        coords, kinds = np.asarray(points, float), np.asarray([] if labels is None else labels, np.int64)
        if coords.ndim != 2 or coords.shape[1] != 2 or kinds.shape != coords.shape[:1]:
            raise ValueError(f"points are {coords.shape}, labels {kinds.shape}; expected (N, 2) and (N,)")
    if box is None:
        return np.concatenate([coords, [[0.0, 0.0]]]), np.append(kinds, PADDING)
    corners = np.asarray(box, float)
    if corners.shape != (4,):
        raise ValueError(f"the box is {corners.shape}; expected (4,): x0 y0 x1 y1")
    return np.concatenate([coords, corners.reshape(2, 2)]), np.append(kinds, [TOP_LEFT, BOTTOM_RIGHT])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: write a mask, white on black, and print its predicted IoU."""
    parser = argparse.ArgumentParser(description="Cut an object out of a photo.")
    parser.add_argument("photo", help="file to read")
    parser.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="around the object")
    parser.add_argument("--point", type=float, nargs=2, action="append", default=[], metavar=("X", "Y"), help="on the object")
    parser.add_argument("--background", type=float, nargs=2, action="append", default=[], metavar=("X", "Y"), help="not on it")
    parser.add_argument("--out", default="mask.png", help="file to write, by default mask.png")
    parser.add_argument("--models", default=HERE, help="folder of encoder.onnx and decoder.onnx")
    given = parser.parse_args(arguments)
    if given.box is None and not given.point:
        parser.error("no prompt is given; give --box, --point, or both")
    points = [*given.point, *given.background]
    labels = [FOREGROUND] * len(given.point) + [BACKGROUND] * len(given.background)
    alone = given.box is None and len(points) == 1
    try:
        segmenter = Segmenter(given.models)
        segmenter.set_image(given.photo)
        masks, scores, _ = segmenter.predict(points or None, labels, given.box, multimask=alone)
        best = int(scores.argmax())
        Image.fromarray(masks[best].astype(np.uint8) * 255).save(given.out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{given.out}: predicted IoU {scores[best]:.3f}, {int(masks[best].sum())} pixels")


if __name__ == "__main__":
    main()
