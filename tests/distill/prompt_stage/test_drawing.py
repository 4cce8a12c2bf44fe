"""Prompts drawn from the annotations of a cache."""

from itertools import islice

import numpy as np
import pytest
import torch

from distill.config.prompt_stage import PromptsConfig
from distill.prompt_stage.drawing import DrawPrompts, pixel_inside
from encoders.errors import InputError
from encoders.samples.rle import encode_mask
from shards import ShardLoader
from tests.distill.prompt_stage.photos import SIZE, UNMARKED, block

SCALE = SIZE / 80  # of the stored photo, 64 x 38


def loader(cache, *, batch_size=4, rank=0, world_size=1, **config):
    draw = DrawPrompts(PromptsConfig(**{"min_pixels": 4} | config), seed=3, image_size=SIZE, truth=True)
    sizes = {"batch_size": batch_size, "rank": rank, "world_size": world_size}
    return ShardLoader(cache, **sizes, records=True, transform=draw)


def batches(cache, count=4, **options):
    with_prompts = loader(cache, **options).batches()
    yield from islice(with_prompts, count)
    with_prompts.close()


def test_a_random_pixel_of_runs_is_any_pixel_of_the_mask_and_no_other():
    mask = np.zeros((5, 9), bool)
    mask[1:3, 2:7] = mask[4, 0] = mask[0, 8] = True
    rng = np.random.default_rng(0)
    seen = {tuple(pixel_inside(encode_mask(mask), rng=rng).astype(int)) for _ in range(400)}
    assert seen == {(x, y) for y, x in zip(*np.nonzero(mask), strict=True)}


def test_boxes_and_clicks_are_those_of_the_annotated_object_in_the_input_frame(annotated_cache):
    boxes = clicks = 0
    for batch in batches(annotated_cache):
        prompts = batch.prompts
        for row in range(len(prompts.image_index)):
            number = int(batch.keys[int(prompts.image_index[row])])
            _, mask = block(number)
            assert bool(prompts.annotated[row]) == (number not in UNMARKED)
            if number in UNMARKED:
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if row < prompts.boxed:
                box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * np.tile([SCALE, 38 / 48], 2)
                np.testing.assert_allclose(prompts.boxes[row], box, rtol=1e-5)
                boxes += 1
            else:
                x, y = (prompts.points[row, 0].numpy() + 0.5) / [SCALE, 38 / 48]
                assert mask[int(y), int(x)]
                clicks += 1
            assert prompts.truth[row].sum() * 16 == pytest.approx(mask.sum() * SCALE * 38 / 48, rel=0.05)
    assert boxes > 10 and clicks > 10


def test_photos_without_annotations_get_clicks_on_the_photo_and_boxes_that_the_teacher_draws(annotated_cache):
    for batch in batches(annotated_cache, source="teacher"):
        prompts = batch.prompts
        assert not prompts.annotated.any() and prompts.drawn == prompts.boxed and not prompts.truth.any()
        assert ((prompts.points >= 0) & (prompts.points <= torch.tensor([63.0, 37.0]))).all()
        assert len({tuple(point) for point in prompts.points[:, 0].tolist()}) == len(prompts.points)


def test_what_is_drawn_for_a_photo_does_not_depend_on_ranks(annotated_cache):
    def by_photo(batch, row):
        where = {key: number for number, key in enumerate(batch.keys)}
        prompts = batch.prompts
        wanted = (prompts.image_index == where[row]).nonzero()[:, 0]
        return [(prompts.boxes[n].tolist(), prompts.points[n].tolist(), int(prompts.seeds[n])) for n in wanted]

    whole = next(batches(annotated_cache))
    halves = [next(batches(annotated_cache, batch_size=2, rank=rank, world_size=2)) for rank in (0, 1)]
    for half in halves:
        for key in half.keys:
            assert by_photo(half, key) == by_photo(whole, key)


def test_small_objects_and_crowds_are_left_to_the_teacher(annotated_cache):
    assert not next(batches(annotated_cache, min_pixels=600)).prompts.annotated.any()


def test_a_damaged_annotation_is_named(annotated_cache):
    batch = next(batches(annotated_cache)).photos
    draw = loader(annotated_cache).transform
    marked = next(number for number, key in enumerate(batch.keys) if int(key) not in UNMARKED)
    batch.records[marked]["annotations"][0]["segmentation"]["counts"] = "zz"
    with pytest.raises(InputError, match=rf"^{batch.keys[marked]}: its annotations cannot be used"):
        draw(batch, range(4))


@pytest.mark.parametrize("source", ["annotations", "teacher"])
@pytest.mark.parametrize("width", [0, -3, 10**400, float("nan"), float("inf"), 80.5, True, "80", None])
def test_a_photo_of_an_impossible_size_is_named(annotated_cache, width, source):
    batch = next(batches(annotated_cache)).photos
    batch.records[1]["width"] = width
    with pytest.raises(InputError, match=rf"^{batch.keys[1]}: its annotations cannot be used .*height and width"):
        loader(annotated_cache, source=source).transform(batch, range(4))
