"""A Python file for an app: `segment.py`, `encoder.onnx` and `decoder.onnx`; numpy, pillow and onnxruntime are all it needs."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np

from encoders.errors import InputError, MissingExtra
from encoders.export.formats.onnx import DECODER, ENCODER, OnnxFormat, OnnxRuntime
from encoders.export.targets.photo_encoder import photo_of
from encoders.export.targets.tool_runtime import one_by_one
from encoders.sam import Sam

SEGMENT_FILE = Path(__file__).with_name("segment.py")

README = """# For a Python program

Copy `segment.py`, `encoder.onnx` and `decoder.onnx` into your app. They need three packages:

    pip install -r requirements.txt

    from segment import Segmenter

    segmenter = Segmenter()
    segmenter.set_image("photo.jpg")
    masks, scores, logits = segmenter.predict(box=[120, 40, 380, 300], multimask=False)

or, from a shell:

    python segment.py photo.jpg --box 120 40 380 300 --out mask.png

Points and boxes are xy in pixels of the photo, masks are of the photo's size. The encoder sees the photo at {size} pixels.
"""
REQUIREMENTS = "numpy>=1.24\nonnxruntime>=1.17\npillow>=9.1\n"


class PythonTarget(OnnxFormat):
    """The ONNX format with a file that asks it."""

    name = "python"

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
    """The copied `segment.py` itself, asked for embeddings and for masks of the input frame.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, *, image_size: int, threads: int | None = None) -> None:
        super().__init__(folder / ENCODER, folder / DECODER, image_size=image_size, threads=threads)
        self._segmenter = load_segment(folder / SEGMENT_FILE.name).Segmenter(folder, threads=threads)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`; the photo goes in at the size that it has in the frame."""
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


def load_segment(path: Path) -> ModuleType:
    """The module of a `segment.py`.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: the file is missing or no such module.
    """
    spec = importlib.util.spec_from_file_location("exported_segment", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{path} does not exist; export the model again")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "onnxruntime", extra=OnnxFormat.extra) from error
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path} is damaged ({error}); export the model again") from error
    if not hasattr(module, "Segmenter"):
        raise InputError(f"{path} is damaged (it has no Segmenter); export the model again")
    return module
