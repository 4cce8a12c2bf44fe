"""Results made by hand with their observations, and a reader of the page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from encoders.geometry import mask_box
from encoders.samples.rle import encode_mask
from encoders.samples.sample import Sample
from eval_zeroshot import Estimate, Result
from tests.eval_zeroshot.report.made_results import result


class Photos(list):
    """A data set of given samples."""

    name = "hand"


class Hand:
    """What a test makes: photos of 40 x 60 (height, width), answers, results, observation files."""

    @staticmethod
    def photos(*samples: Sample) -> Photos:
        return Photos(samples)

    @staticmethod
    def mask(x: int, y: int, *, width: int = 12, height: int = 10) -> np.ndarray:
        """A rectangle with its left upper corner at (x, y)."""
        mask = np.zeros((40, 60), bool)
        mask[y : y + height, x : x + width] = True
        return mask

    @staticmethod
    def photo(key: str, *masks: np.ndarray) -> Sample:
        """Objects 10, 11, ... with their tight boxes."""
        boxes = [mask_box(mask) for mask in masks]
        image = np.full((40, 60, 3), 90, np.uint8)
        return Sample(key=key, image=image, masks=masks, boxes=boxes, annotation_ids=range(10, 10 + len(masks)))

    @staticmethod
    def result(model: str, values: list[float], **facts) -> Result:
        """A result of the box suite whose value is the mean of some IoUs."""
        given = {"suite": "box", "version": "1", "protocol": "ground truth", "dataset": "hand", "images": len(values)}
        return Result(model=model, **(Estimate.of(values).model_dump() | given | facts))

    @staticmethod
    def seen(sample: Sample, values: list[float], answers: list[np.ndarray]) -> dict:
        """What a model saw of a photo: an IoU and a mask for each object."""
        return {
            "key": sample.key,
            "ids": sample.annotation_ids.tolist(),
            "areas": sample.areas.tolist(),
            "values": {"single": values},
            "masks": [encode_mask(mask) for mask in answers],
        }

    @staticmethod
    def keep(state: Path, result: Result, photos: list[dict], *, name: str, weights: str | None = None) -> Path:
        """Write observations as `evaluate` keeps them."""
        state.mkdir(parents=True, exist_ok=True)
        shared = ("dataset", "suite", "version", "protocol", "model", "image_size")
        identity = {each: getattr(result, each) for each in shared} | {"weights": weights or result.model_sha256}
        path = state / f"{name}.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in [identity, *photos]) + "\n")
        return path


class Reader(HTMLParser):
    """All elements of a page with their attributes, and its text; refuses tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def read_page():
    return Reader


@pytest.fixture
def results() -> list[Result]:
    """Four models of every role in two suites."""
    names = [("fill the box", "baseline"), ("tiny_vit", "student"), ("repvit_m0_9", "student"), ("sam_demo", "teacher")]
    clicks = {name: Estimate(value=0.375, n=1672) for name in ("click_5", "click_3", "oracle", "agreement")}
    return [result(name, suite, role, extra=clicks) for suite in ("box", "point") for name, role in names]
