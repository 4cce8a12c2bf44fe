"""Annotations and detections that cannot be scored: each is named, with what was expected, by every backend."""

import json

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.samples.rle import encode_mask
from eval_zeroshot.ap.annotations import read_annotations
from eval_zeroshot.ap.backends import BACKENDS, average_precision
from eval_zeroshot.ap.detections import read_detections


def coco(**changes):
    """A photo of 20 x 30 with one object; `changes` by "part.field"."""
    mask = np.zeros((20, 30), bool)
    mask[2:12, 3:10] = True
    content = {
        "images": [{"id": 1, "height": 20, "width": 30}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [3, 2, 7, 10], "area": 70, "segmentation": encode_mask(mask)},
        ],
        "categories": [{"id": 1, "frequency": "f"}],
    }
    for name, value in changes.items():
        part, field = name.split("__")
        content[part][0][field] = value
    return content


def written(tmp_path, content):
    path = tmp_path / "truth.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations__bbox": None}, "annotations, record 0: bbox is 'None'; expected four finite numbers"),
        ({"annotations__bbox": [1, 2, 3]}, "expected four finite numbers"),
        ({"annotations__bbox": ["1", 2, 3, 4]}, "expected four finite numbers"),
        ({"annotations__bbox": [1, 2, 3, 10**400]}, "expected four finite numbers"),
        ({"annotations__area": None}, "area is 'None'; expected a finite number"),
        ({"annotations__area": float("nan")}, "area is 'nan'; expected a finite number"),
        ({"annotations__image_id": [1]}, "image_id is .*; expected a whole number"),
        ({"annotations__category_id": "cat"}, "category_id is 'cat'; expected a whole number"),
        ({"images__id": {}}, "images, record 0: id is '{}'; expected a whole number"),
        ({"images__height": None}, "height is 'None'; expected a whole number of pixels"),
        ({"images__height": "20"}, "height is '20'"),
        ({"images__width": 0}, "width is '0'; expected a whole number of pixels, 1 or more"),
        ({"categories__id": None}, "categories, record 0: id is 'None'"),
        (
            {"images__neg_category_ids": None, "images__not_exhaustive_category_ids": []},
            "neg_category_ids is 'None'; expected a list of category ids",
        ),
    ],
)
def test_a_field_that_is_something_else_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=f"truth.json.*{message}"):
        read_annotations(written(tmp_path, coco(**changes)))


def test_an_image_listed_twice_and_endless_nesting(tmp_path):
    content = coco()
    content["images"] *= 2
    with pytest.raises(InputError, match="lists image id 1 twice"):
        read_annotations(written(tmp_path, content))
    with pytest.raises(InputError, match="is not valid json"):
        read_annotations(written(tmp_path, "[" * 200_000))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("segmentation", [[], None, [[1, 2, 3]], {"size": [30, 20], "counts": "04"}])
def test_a_mask_that_is_none_is_named_by_every_backend(tmp_path, backend, segmentation):
    truth = read_annotations(written(tmp_path, coco(annotations__segmentation=segmentation)))
    results = [{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": coco()["annotations"][0]["segmentation"]}]
    with pytest.raises(InputError, match="truth.json, image 1"):
        average_precision(truth, results, iou_type="segm", backend=backend)


@pytest.mark.parametrize("changes", [{"score": 10**400}, {"bbox": [0, 0, 10**400, 1]}, {"score": True}, {"image_id": 2**80}])
def test_a_number_that_no_float_or_id_holds_is_refused(tmp_path, changes):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [0, 0, 1, 1]} | changes]))
    with pytest.raises(InputError, match=f"results.json, result 0: {next(iter(changes))}"):
        read_detections(path)
