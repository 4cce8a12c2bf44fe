"""A Python file for an app: `segment.py`, `encoder.onnx` and `decoder.onnx`; it only needs numpy, pillow and onnxruntime."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.export.formats.onnx import DECODER, ENCODER, OnnxFormat, OnnxRuntime
from encoders.export.targets.photo_encoder import photo_of
from encoders.export.targets.tool_runtime import one_by_one
from encoders.sam import Sam

SEGMENT_FILE = Path(__file__).with_name("segment.py")

README = """# For a Python program

Copy `segment.py`, `encoder.onnx` and `decoder.onnx` into your app. It needs three packages:

    pip install -r requirements.txt

    from segment import Segmenter

    segmenter = Segmenter()
    segmenter.set_image("photo.jpg")
    masks, scores, logits = segmenter.predict(box=[120, 40, 380, 300], multimask=False)

or, from a shell:

    python segment.py photo.jpg --box 120 40 380 300 --out mask.png

Points and boxes are xy in pixels of the photo, and masks have the photo's size. The encoder works on the photo with its long
side at {size} pixels.
"""
REQUIREMENTS = "numpy>=1.24\nonnxruntime>=1.17\npillow>=9.1\n"


class PythonTarget(OnnxFormat):
    """The ONNX format, with a Python file that runs it."""

    name = "python"
    takes_masks = True

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """See `Format.write`."""
        super().write(sam, folder, precision=precision)
        shutil.copyfile(SEGMENT_FILE, folder / SEGMENT_FILE.name)
        (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
        (folder / "README.md").write_text(README.format(size=sam.image_size), encoding="utf-8")

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> "SegmentRuntime":
        """See `Format.open`."""
        return SegmentRuntime(folder, image_size=image_size, threads=threads)


class SegmentRuntime(OnnxRuntime):
    """This package's own `segment.py` on a folder's models. The folder's copy is compared with it and never executed.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or damaged, or the folder's `segment.py` is not this package's.
    """

    def __init__(self, folder: Path, *, image_size: int, threads: int | None = None) -> None:
        check_shipped(folder / SEGMENT_FILE.name)
        super().__init__(folder / ENCODER, folder / DECODER, image_size=image_size, threads=threads)
        from encoders.export.targets.segment import Segmenter  # imported here because it needs onnxruntime

        sessions = {ENCODER: self._encoder, DECODER: self._decoder}

        class Opened(Segmenter):
            def _open(self, name: str) -> Any:
                return sessions[name]

        self._segmenter = Opened(folder)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`; the photo is passed at the size that it has in the frame."""
        self._segmenter.set_image(photo_of(image))
        return np.asarray(self._segmenter.embedding, np.float32)

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`."""
        self._segmenter.embedding = embedding
        frame = (self.image_size, self.image_size)
        given = iter([None] * len(coords) if masks is None else masks)

        def ask(points: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            _, scores, logits = self._segmenter.decode(points[0], kinds[0], shape=frame, mask_input=next(given))
            return logits[None], scores[None]

        return one_by_one(ask, coords=coords, labels=labels)


def check_shipped(path: Path) -> None:
    """Compare a folder's `segment.py` with this package's.

    Raises:
        InputError: it is missing, or differs from this package's.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; export the model again")
    if path.read_bytes() != SEGMENT_FILE.read_bytes():
        raise InputError(
            f"{path} is not the file that this version ships and is not executed; export the model again, or check it with the "
            "version of this package that exported it (certificate.json names it)"
        )
