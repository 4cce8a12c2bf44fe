import numpy as np

from distill.mask_stage.augmentation import View, jitter_colour, paste, random_view
from encoders.samples.sample import Sample


def marked_photo() -> Sample:
    """A 60 x 100 photo: black, but for a white block that is exactly its one object."""
    image = np.zeros((60, 100, 3), np.uint8)
    mask = np.zeros((60, 100), bool)
    image[10:30, 70:95] = 255
    mask[10:30, 70:95] = True
    return Sample(key="block", image=image, boxes=[[70, 10, 95, 30]], masks=[mask])


def view_of(sample: Sample, *, seed: int, scale: tuple[float, float], image_size: int = 64) -> View:
    return random_view(
        sample, image_size=image_size, scale=scale, max_masks=4, min_pixels=4, rng=np.random.default_rng(seed)
    )


def test_masks_follow_the_pixels_through_scale_crop_and_mirror():
    shown = 0
    for seed in range(40):
        view = view_of(marked_photo(), seed=seed, scale=(0.5, 3.0))
        assert max(view.image.shape[:2]) <= 64
        for mask in view.masks:
            shown += 1
            assert np.array_equal(mask, view.image[..., 0] > 127)  # half covered at an antialiased edge
    assert shown > 15


def test_scale_one_shows_the_whole_photo_in_its_own_proportions():
    view = view_of(marked_photo(), seed=3, scale=(1.0, 1.0))
    assert view.image.shape == (38, 64, 3)  # 60 x 100 brought to a long side of 64
    assert view.masks.shape == (1, 38, 64)


def test_crowds_are_no_objects():
    photo = marked_photo()
    crowd = Sample(key="c", image=photo.image, boxes=photo.boxes, masks=photo.masks, crowd=[True])
    assert len(view_of(crowd, seed=0, scale=(1.0, 1.0)).masks) == 0


def test_a_pasted_object_covers_what_lies_behind_it():
    behind = np.zeros((1, 20, 30), bool)
    behind[0, 2:12, 4:20] = True
    view = View(np.full((20, 30, 3), 10, np.uint8), behind)
    over = np.zeros((1, 16, 40), bool)
    over[0, 5:10, 10:25] = True
    donor = View(np.full((16, 40, 3), 200, np.uint8), over)
    result = paste(view, donor, count=1, min_pixels=4, rng=np.random.default_rng(0))
    pasted, covered = result.masks
    assert (result.image[..., 0] == 200).sum() == pasted.sum() == 5 * 15
    assert covered.sum() == 10 * 16 - 5 * 10  # rows 5..9, columns 10..19 are hidden now
    assert not (pasted & covered).any()
    assert view.masks.sum() == 160 and view.image.max() == 10  # the view itself is unchanged


def test_colour_jitter_of_strength_zero_changes_nothing_and_else_keeps_type():
    image = np.random.default_rng(0).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    assert jitter_colour(image, strength=0, rng=np.random.default_rng(0)) is image
    other = jitter_colour(image, strength=0.4, rng=np.random.default_rng(0))
    assert other.shape == image.shape and other.dtype == np.uint8 and (other != image).any()
