from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from encoders.predictor import Prediction
from encoders.samples.sample import Sample


class Oracle:
    """Answers every prompt with given masks in order of the objects, and remembers what it was asked.

    Args:
        answers: image's first pixel value -> masks, (P, H, W) bool, of the photo that carries this mark.
    """

    identity = "oracle"

    def __init__(self, answers: dict[int, np.ndarray]) -> None:
        self.answers = answers
        self.images = 0
        self.asked: list[dict[str, object]] = []

    def set_image(self, image: np.ndarray, /) -> None:
        self.images += 1
        self.masks = self.answers[int(image[0, 0, 0])]
        self.next = 0

    def predict(self, prompts, *, multimask=True):  # type: ignore[no-untyped-def]
        self.asked.append(vars(prompts) | {"multimask": multimask})
        found, channels = self.masks, 3 if multimask else 1
        return Prediction(
            masks=np.repeat(found[:, None], channels, axis=1),
            scores=np.tile(np.linspace(0.2, 0.4, channels, dtype=np.float32), (len(found), 1)),
            logits=np.zeros((len(found), channels, 4, 4), np.float32),
        )


MakeSample = Callable[..., Sample]


@pytest.fixture
def make_sample() -> MakeSample:
    """A 20 x 30 photo with rectangles given as (x0, y0, x1, y1) in pixels."""

    def make(*rectangles: tuple[int, int, int, int], key: str = "a", mark: int = 0, **facts: object) -> Sample:
        image = np.full((20, 30, 3), mark, np.uint8)
        masks = []
        for x0, y0, x1, y1 in rectangles:
            mask = np.zeros((20, 30), bool)
            mask[y0:y1, x0:x1] = True
            masks.append(mask)
        return Sample(key=key, image=image, boxes=list(rectangles), masks=masks, **facts)

    return make


@pytest.fixture
def oracle() -> Callable[..., Oracle]:
    """A perfect predictor for some samples; `marks` are their images' first pixel."""

    def make(*samples: Sample) -> Oracle:
        return Oracle({int(s.image[0, 0, 0]): np.stack(s.masks) for s in samples if len(s.masks)})

    return make


@pytest.fixture
def coco_val(shared_data: Path) -> Path:
    """Real COCO photos with annotations, where they are at hand."""
    return shared_data / "coco_val2017"


@pytest.fixture
def no_room() -> Callable[[int], AbstractContextManager[None]]:
    """In the block no file can grow beyond so many bytes: the system refuses the write, as on a full disk."""
    resource = pytest.importorskip("resource")  # not on Windows

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
