"""The shipped photos: that their licences allow it, that each is attributed, and that they are usable data."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.jobs.sample_data import SAMPLE, resolve_data
from encoders.errors import InputError
from encoders.samples.coco import CocoDataset

COUNTS = {"train": 64, "val": 32}
LICENCES = {  # COCO's ids of the licences that allow passing a photo on, also changed and for money
    4: "https://creativecommons.org/licenses/by/2.0/",
    5: "https://creativecommons.org/licenses/by-sa/2.0/",
    7: "https://www.flickr.com/commons/usage/",
}
split = pytest.mark.parametrize("split", list(COUNTS))


def content(split: str) -> dict[str, list[dict]]:
    return json.loads((SAMPLE / split / "instances.json").read_text())


@split
def test_the_photos_are_those_that_the_annotations_name(split):
    names = {record["file_name"] for record in content(split)["images"]}
    assert len(names) == COUNTS[split]
    assert {path.name for path in (SAMPLE / split / "images").iterdir()} == names


@split
def test_every_photo_may_be_shipped_and_is_attributed(split):
    rows = {
        cells[1].strip(): line
        for line in (SAMPLE / "ATTRIBUTION.md").read_text().splitlines()
        if len(cells := line.split("|")) == 5
    }
    for record in content(split)["images"]:
        row = rows[f"{split}/images/{record['file_name']}"]
        assert record["flickr_url"] in row
        assert LICENCES[record["license"]] in row


def test_only_shipped_photos_are_attributed():
    lines = [line for line in (SAMPLE / "ATTRIBUTION.md").read_text().splitlines() if "/images/" in line]
    assert len(lines) == sum(COUNTS.values())


@split
def test_photos_have_the_stated_size_and_show_something(split):
    for record in content(split)["images"]:
        with Image.open(SAMPLE / split / "images" / record["file_name"]) as photo:
            assert photo.size == (record["width"], record["height"])
            assert max(photo.size) <= 640
            assert np.asarray(photo.convert("L")).std() > 10, record["file_name"]


@split
def test_every_mask_decodes_to_the_size_and_about_the_area_that_coco_states(split):
    dataset = CocoDataset(SAMPLE / split / "instances.json")
    objects = 0
    for index in range(len(dataset)):
        annotations = dataset.instances(index)
        assert sum(not annotation["iscrowd"] for annotation in annotations) >= 2
        sample = dataset[index]
        for mask in sample.masks:
            assert mask.shape == sample.image.shape[:2]
            assert mask.any()
        stated = sum(annotation["area"] for annotation in annotations)
        assert sum(mask.sum() for mask in sample.masks) == pytest.approx(stated, rel=0.2)
        objects += len(sample.masks)
    assert objects > 5 * COUNTS[split]


def test_training_and_validation_share_no_photo():
    train, val = ({record["flickr_url"] for record in content(split)["images"]} for split in COUNTS)
    assert not train & val
    photos = [path.read_bytes() for path in SAMPLE.rglob("*.jpg")]
    assert len(set(photos)) == len(photos) == sum(COUNTS.values())


def test_sample_names_resolve_and_all_else_is_a_path():
    assert resolve_data("sample:val") == SAMPLE / "val" / "instances.json"
    assert resolve_data("some/instances.json") == Path("some/instances.json")
    with pytest.raises(InputError, match=r"sample:test.*sample:train or sample:val"):
        resolve_data("sample:test")
