"""Augmentation of the student's photos: where it is, what it does by hand, and that nothing but its place decides it."""

import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import shards
from shards.loading.augmentation import Augmentation, Chain, add_noise, blur, change_colour, compress
from tests.accelerator.test_batches import SHAPES, SIZE, made_batch

ALL = Augmentation(seed=5, colour=0.4, blur=1.0, noise=1.0, jpeg=1.0)


def test_only_the_photos_pixels_change():
    clean, changed = made_batch("int8"), ALL(made_batch("int8"), [7, 8, 9])
    for row, (height, width) in enumerate(SHAPES):
        outside = torch.ones(SIZE, SIZE, dtype=torch.bool)
        outside[:height, :width] = False
        assert not changed.pixels[row][:, outside].any()
        assert (changed.pixels[row][:, ~outside] != clean.pixels[row][:, ~outside]).float().mean() > 0.9
    for name in ("sizes", "codes", "scales"):
        assert torch.equal(getattr(changed, name), getattr(clean, name))
    assert changed.pixels.is_contiguous(memory_format=torch.channels_last)


def test_what_happens_to_a_photo_follows_from_seed_and_place_alone():
    whole = pickle.loads(pickle.dumps(ALL))(made_batch("int8"), [7, 8, 9]).pixels
    reordered = made_batch("int8")
    order = [2, 0]
    part = replace(reordered, pixels=reordered.pixels[order], sizes=reordered.sizes[order])
    assert torch.equal(ALL(part, [9, 7]).pixels, whole[order])
    assert not torch.equal(ALL(made_batch("int8"), [10, 8, 9]).pixels[0], whole[0])
    assert not torch.equal(replace(ALL, seed=6)(made_batch("int8"), [7, 8, 9]).pixels[0], whole[0])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_workers_and_resumes_do_not_change_it(cache, num_workers):
    def pixels(start, steps, **settings):
        loader = shards.ShardLoader(cache, seed=1, transform=Chain((ALL,)), **settings)
        return [batch.pixels for batch in islice(loader.batches(start), steps)]

    whole = pixels(0, 3, batch_size=4)
    halves = [pixels(1, 2, batch_size=2, rank=rank, world_size=2, num_workers=num_workers) for rank in (0, 1)]
    for step in (0, 1):
        assert torch.equal(torch.stack([halves[0][step], halves[1][step]], dim=1).flatten(0, 1), whole[1 + step])


def test_each_setting_draws_its_own_numbers():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    blurred = replace(ALL, colour=0.0, noise=0.0, jpeg=0.0).photo(pixels, place=3, image_size=512)
    both = replace(ALL, noise=0.0, jpeg=0.0).photo(pixels, place=3, image_size=512)
    coloured = replace(ALL, blur=0.0, noise=0.0, jpeg=0.0).photo(pixels, place=3, image_size=512)
    again = replace(ALL, colour=0.0, noise=0.0, jpeg=0.0).photo(coloured, place=3, image_size=512)
    assert np.array_equal(both, again) and not np.array_equal(both, blurred)


def test_the_probabilities_are_those_of_the_settings():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    some = Augmentation(seed=0, blur=0.25)
    changed = [not np.array_equal(some.photo(pixels, place=place, image_size=1024), pixels) for place in range(400)]
    assert 75 <= sum(changed) <= 125
    assert np.array_equal(Augmentation(seed=0).photo(pixels, place=1, image_size=64), pixels)


def test_colour_by_hand():
    pixels = np.full((8, 8, 3), (100, 50, 200), np.uint8)
    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 200  # 82.05
    assert np.array_equal(change_colour(pixels, (1, 1, 1), tint=(1, 1, 1)), pixels)
    assert change_colour(pixels, (1.5, 1, 1), tint=(1, 1, 1))[0, 0].tolist() == [150, 75, 255]
    half = [round(grey + (value - grey) / 2) for value in (100, 50, 200)]
    assert change_colour(pixels, (1, 0.5, 1), tint=(1, 1, 1))[0, 0].tolist() == half
    assert change_colour(pixels, (1, 1, 0), tint=(1, 1, 1))[0, 0].tolist() == [82, 82, 82]
    assert change_colour(pixels, (1, 1, 1), tint=(1.02, 0.91, 1))[0, 0].tolist() == [102, 46, 200]  # 45.5 is rounded up


def test_noise_has_its_deviation_and_no_bias():
    pixels = np.full((200, 200, 3), 128, np.uint8)
    noisy = add_noise(pixels, deviation=6.0, rng=np.random.default_rng(0)).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.1) and noisy.std() == pytest.approx(6.0, abs=0.1)
    assert add_noise(np.full((9, 9, 3), 255, np.uint8), deviation=12.0, rng=np.random.default_rng(0)).max() == 255


def test_blur_and_compression_keep_the_size_of_odd_photos():
    pixels = np.random.default_rng(0).integers(0, 256, (33, 1, 3)).astype(np.uint8)
    for changed in (blur(pixels, deviation=2.0), compress(pixels, quality=30)):
        assert changed.shape == pixels.shape and changed.dtype == np.uint8
