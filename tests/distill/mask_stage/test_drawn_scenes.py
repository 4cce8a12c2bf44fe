import numpy as np
import pytest

from distill.mask_stage.drawn_scenes import MIN_VISIBLE_PIXELS, Shapes


def test_a_scene_is_the_same_every_time_and_scenes_differ():
    first, again, other = Shapes(count=3)[1], Shapes(count=3)[1], Shapes(count=3)[2]
    assert np.array_equal(first.image, again.image) and first.key == again.key
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_masks_are_what_is_seen_so_they_never_overlap():
    for index in range(5):
        scene = Shapes(count=5, size=160)[index]
        assert max(scene.shape) == 160
        assert len(scene.masks) >= 2
        assert np.sum(scene.masks, axis=0).max() == 1
        assert min(mask.sum() for mask in scene.masks) >= MIN_VISIBLE_PIXELS


def test_boxes_are_tight():
    scene = Shapes(count=1, size=160)[0]
    for mask, (x0, y0, x1, y1) in zip(scene.masks, scene.boxes.astype(int), strict=True):
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
        assert mask[y0, x0:x1].any() and mask[y1 - 1, x0:x1].any()
        assert mask[y0:y1, x0].any() and mask[y0:y1, x1 - 1].any()


def test_there_are_only_as_many_scenes_as_asked_for():
    with pytest.raises(IndexError):
        Shapes(count=2)[2]
