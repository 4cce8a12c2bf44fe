"""BSDS500: each region of each annotator is a mask."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from encoders import InputError
from encoders.geometry import mask_box
from eval_zeroshot.datasets.bsds import BsdsDataset

# A 20 x 30 photo (height x width). The first annotator sees one block on a ground, the second halves the photo.
BLOCK = np.ones((20, 30), np.uint16)
BLOCK[3:9, 17:28] = 2
HALVES = np.ones((20, 30), np.uint16)
HALVES[:, 12:] = 2


def ground_truth(*segmentations):
    """BSDS500's nesting: a row of cells, each a struct with `Segmentation` and `Boundaries`."""
    cells = np.empty((1, len(segmentations)), object)
    for index, segmentation in enumerate(segmentations):
        cells[0, index] = {"Segmentation": segmentation, "Boundaries": np.zeros_like(segmentation, np.uint8)}
    return {"groundTruth": cells}


@pytest.fixture
def folder(tmp_path):
    for kind in ("images", "groundTruth"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for name in ("8", "12"):
        Image.new("RGB", (30, 20), (1, 2, 3)).save(tmp_path / "images" / "train" / f"{name}.jpg")
        scipy.io.savemat(tmp_path / "groundTruth" / "train" / f"{name}.mat", ground_truth(BLOCK, HALVES))
    return tmp_path


def test_every_region_of_every_annotator_is_a_mask_with_its_box(folder):
    data = BsdsDataset(folder, split="train")
    assert [sample.key for sample in data] == ["12", "8"]
    sample = data[1]
    assert sample.shape == (20, 30)
    assert sample.areas.tolist() == [600 - 66, 66, 240, 360]
    assert sample.boxes.tolist() == [[0, 0, 30, 20], [17, 3, 28, 9], [0, 0, 12, 20], [12, 0, 30, 20]]
    assert np.array_equal(sample.masks[1], BLOCK == 2)
    assert sample.meta == {"source": "BSDS500", "file_name": "8.jpg"}


@pytest.mark.parametrize(("rows", "columns"), [((4, 5), (7, 8)), ((0, 20), (0, 30)), ((19, 20), (2, 30))])
def test_a_box_ends_after_the_last_pixel(rows, columns):
    mask = np.zeros((20, 30), bool)
    mask[slice(*rows), slice(*columns)] = True
    box = mask_box(mask)
    assert box.tolist() == [columns[0], rows[0], columns[1], rows[1]]
    assert box.dtype == np.float32


def test_a_box_spans_parts_that_do_not_touch():
    mask = np.zeros((20, 30), bool)
    mask[2, 25] = mask[15, 4] = True
    assert mask_box(mask).tolist() == [4, 2, 26, 16]


def test_a_folder_of_something_else_is_refused(folder):
    with pytest.raises(InputError, match=r"no images/test/\*\.jpg\. BSDS500: unpack"):
        BsdsDataset(folder, split="test")


def test_a_photo_without_ground_truth_is_named(folder):
    (folder / "groundTruth" / "train" / "8.mat").unlink()
    with pytest.raises(InputError, match=r"8\.mat does not exist; expected the human segmentations of 8\.jpg"):
        BsdsDataset(folder)[1]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other"])
def test_a_file_that_is_no_ground_truth_is_named(folder, damage):
    path = folder / "groundTruth" / "train" / "8.mat"
    if damage == "other":
        scipy.io.savemat(path, {"segs": BLOCK})
    else:
        path.write_bytes({"cut": path.read_bytes()[:700], "text": b"see the other folder", "empty": b""}[damage])
    with pytest.raises(InputError, match=r"8\.mat holds no BSDS500 ground truth"):
        BsdsDataset(folder)[1]
