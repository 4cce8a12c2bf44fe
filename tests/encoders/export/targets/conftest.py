"""sam_demo at a small size, a landscape and a portrait photo, prompts on them, and our own masks to compare with."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest

import encoders
from encoders.export.targets import find_target
from encoders.predictor import Predictor
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from encoders.samples.sample import Sample

SIZE = 256
PHOTOS = {"wide": 2, "tall": 7}  # of sample:val: 428 x 640 and 640 x 480, height first


@dataclass(frozen=True)
class Prompt:
    """Points (N, 2) xy and labels (N,) in pixels of the photo, and a box (4,) xyxy, or None."""

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None

    @property
    def coords(self) -> np.ndarray:
        """(N, 2), the box as its two corners at the end, as tools keep prompts."""
        return self.points if self.box is None else np.concatenate([self.points, self.box.reshape(2, 2)])

    @property
    def kinds(self) -> np.ndarray:
        """(N,) labels of `coords`."""
        return self.labels if self.box is None else np.append(self.labels, [2, 3])

    @property
    def marks(self) -> list[dict]:
        """As the AnyLabeling tools keep them."""
        marks = [{"type": "point", "data": list(p), "label": int(k)} for p, k in zip(self.points, self.labels, strict=True)]
        return marks if self.box is None else [*marks, {"type": "rectangle", "data": list(self.box)}]


def prompts_on(sample: Sample) -> dict[str, Prompt]:
    """A box, several points with background, and both, of the photo's largest object."""
    largest = int(np.argmax(sample.areas))
    mask, box = sample.masks[largest], np.asarray(sample.boxes[largest], float)
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    points = np.asarray([inside[len(inside) // 2], inside[len(inside) // 3], outside[len(outside) // 5]])[:, ::-1].astype(float)
    labels = np.asarray([1, 1, 0])
    return {
        "box": Prompt(np.zeros((0, 2)), np.zeros(0, int), box),
        "points": Prompt(points, labels),
        "point": Prompt(points[:1], labels[:1]),
        "both": Prompt(points[1:], labels[1:], box),
    }


KINDS = ["box", "points", "point", "both"]


@pytest.fixture(params=PHOTOS)
def view(request, photos) -> Sample:
    """Each photo in turn."""
    return photos[request.param]


@pytest.fixture(params=KINDS)
def prompt(request, view) -> Prompt:
    """Each prompt on `view` in turn."""
    return prompts_on(view)[request.param]


@pytest.fixture(scope="session")
def demo() -> encoders.Sam:
    return encoders.load("sam_demo", image_size=SIZE)


@pytest.fixture(scope="session")
def demo_1024() -> encoders.Sam:
    return encoders.load("sam_demo", image_size=1024)


@pytest.fixture(scope="session")
def as_segment_anything():
    """A copy of a model with the attributes that segment-anything's `SamOnnxModel` reads."""

    def make(sam: encoders.Sam) -> encoders.Sam:
        made = copy.deepcopy(sam)
        made.image_encoder.img_size, made.mask_threshold = sam.image_size, 0.0
        return made

    return make


@pytest.fixture(scope="session")
def photos() -> dict[str, Sample]:
    """wide and tall."""
    from distill.jobs.sample_data import resolve_data
    from eval_zeroshot import open_dataset

    data = open_dataset(resolve_data("sample:val"))
    found = {name: data[index] for name, index in PHOTOS.items()}
    assert found["wide"].shape == (428, 640) and found["tall"].shape == (640, 480)
    return found


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder that a target writes of a model, written once a session."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folders = {}

    def write(target: str, sam: encoders.Sam):
        key = (target, sam.image_size)
        if key not in folders:
            folder = tmp_path_factory.mktemp(target)
            find_target(target).write(encoders.fuse(sam), folder, precision="fp32")
            folders[key] = folder
        return folders[key]

    return write


@pytest.fixture(scope="session")
def ours():
    """All four masks of PyTorch's predictor, (4, H, W) bool; the single one first."""
    made = {}

    def ask(sam: encoders.Sam, sample: Sample, prompt: Prompt) -> np.ndarray:
        key = (sam.image_size, sample.key)
        if key not in made:
            made[key] = Predictor(sam)
            made[key].set_image(sample.image)
        given = {"points": prompt.points[None], "labels": prompt.labels[None]} if len(prompt.points) else {}
        if prompt.box is not None:
            given["boxes"] = prompt.box[None]
        return made[key].predict_tokens(Prompts(**given)).masks[0]

    return ask


@pytest.fixture(scope="session")
def iou():
    """IoU of a tool's mask with ours, which is not an empty one."""

    def measure(found: np.ndarray, expected: np.ndarray) -> float:
        assert found.shape == expected.shape and 100 < expected.sum() < 0.95 * expected.size
        return float(mask_iou(found, expected))

    return measure


@pytest.fixture(scope="session")
def session():
    """An ONNX Runtime session as tools open it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    opened = {}

    def open_(path):
        if path not in opened:
            opened[path] = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return opened[path]

    return open_
