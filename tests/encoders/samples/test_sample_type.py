import numpy as np
import pytest

from encoders import Sample

IMAGE = np.zeros((6, 8, 3), np.uint8)


def mask(rows, columns, shape=(6, 8)):
    out = np.zeros(shape, bool)
    out[rows, columns] = True
    return out


def test_what_is_not_given_follows_from_the_masks():
    sample = Sample(
        key="a",
        image=IMAGE,
        boxes=[[2, 1, 4, 3], [0, 0, 8, 1]],
        masks=[mask(slice(1, 3), slice(2, 4)), mask(0, slice(0, 8))],
    )
    assert sample.shape == (6, 8)
    assert sample.boxes.dtype == np.float32
    assert sample.areas.tolist() == [4, 8]
    assert sample.annotation_ids.tolist() == [0, 1]
    assert sample.category_ids.tolist() == [0, 0]
    assert sample.crowd.tolist() == [False, False]


def test_a_photo_without_objects():
    sample = Sample(key="a", image=IMAGE)
    assert sample.boxes.shape == (0, 4)
    assert len(sample.areas) == len(sample.crowd) == 0


def test_what_the_data_set_states_wins():
    sample = Sample(key="a", image=IMAGE, boxes=[[0, 0, 8, 1]], masks=[mask(0, 0)], areas=[7.5], crowd=[1],
                    annotation_ids=[1_000_000_000_001])  # fmt: skip
    assert (sample.areas[0], sample.crowd[0]) == (7.5, True)
    assert sample.annotation_ids[0] == 1_000_000_000_001  # beyond 32 bits


@pytest.mark.parametrize("wrong", ["boxes", "areas", "category_ids", "annotation_ids", "crowd"])
def test_every_list_has_one_entry_a_mask(wrong):
    values = {"boxes": [[0, 0, 1, 1]], wrong: [[0, 0, 1, 1]] * 2 if wrong == "boxes" else [1, 1]}
    with pytest.raises(ValueError, match=f"sample a: 2 {wrong} for 1 masks"):
        Sample(key="a", image=IMAGE, masks=[mask(0, 0)], **values)


def test_a_mask_of_the_turned_photo_is_refused():
    with pytest.raises(ValueError, match=r"mask 0 is \(8, 6\), the image \(6, 8\)"):
        Sample(key="a", image=IMAGE, boxes=[[0, 0, 1, 1]], masks=[mask(0, 0, shape=(8, 6))])
