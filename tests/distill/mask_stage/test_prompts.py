import numpy as np
import pytest
import torch

from distill.mask_stage.prompts import error_clicks, jitter_box, point_inside, seeded_noise
from eval_zeroshot.prompting.clicks import centre_point


def off_centre_mask() -> np.ndarray:
    mask = np.zeros((9, 20), bool)
    mask[2:7, 12:17] = True  # 5 x 5 pixels, centre (x 14, y 4)
    return mask


def test_centre_point_is_the_pixel_farthest_from_the_boundary_as_xy():
    assert list(centre_point(off_centre_mask())[:2]) == [14, 4]


def test_centre_point_of_a_mask_that_touches_the_border_counts_the_border_as_boundary():
    mask = np.zeros((3, 11), bool)
    mask[:, 8:] = True  # 3 x 3 at the right edge
    assert list(centre_point(mask)[:2]) == [9, 1]


def test_point_inside_always_lands_on_the_mask():
    mask = off_centre_mask()
    for seed in range(50):
        x, y = point_inside(mask, rng=np.random.default_rng(seed)).astype(int)
        assert mask[y, x]


def test_jittered_box_stays_near_its_box_and_in_the_frame():
    box = np.asarray([300, 8, 340, 400], np.float32)
    for seed in range(50):
        jittered = jitter_box(box, image_size=512, rng=np.random.default_rng(seed))
        assert np.abs(jittered - box).max() <= 10  # 20 pixels at 1024
        assert jittered[0] < jittered[2] and jittered[1] < jittered[3]
        assert jittered.min() >= 0 and jittered.max() <= 512


def test_jitter_is_a_tenth_of_each_side():
    box = np.asarray([100, 100, 120, 200], np.float32)
    shifts = np.stack([jitter_box(box, image_size=4096, rng=np.random.default_rng(s)) - box for s in range(2000)])
    assert shifts.std(axis=0) == pytest.approx([2, 10, 2, 10], rel=0.1)


def test_error_clicks_are_positive_on_missed_and_negative_on_spilled_cells():
    target = torch.zeros(3, 4, 8, dtype=torch.bool)
    prediction = torch.zeros(3, 4, 8, dtype=torch.bool)
    target[0, 1, 6] = True  # missed: row 1, column 6
    prediction[1, 3, 2] = True  # spilled: row 3, column 2
    points, labels = error_clicks(prediction, target, stride=4, seeds=torch.arange(3))
    assert points[:2, 0].tolist() == [[25.5, 5.5], [9.5, 13.5]]
    assert labels[:, 0].tolist() == [1, 0, -1]  # the third prompt has no error, so no click


def test_error_clicks_reach_every_wrong_cell():
    target = torch.zeros(400, 2, 3, dtype=torch.bool)
    target[:, 0, 1] = target[:, 1, 2] = True
    points, _ = error_clicks(torch.zeros_like(target), target, stride=4, seeds=torch.arange(400))
    assert {tuple(p) for p in points[:, 0].tolist()} == {(5.5, 1.5), (9.5, 5.5)}


def test_noise_is_uniform_and_a_rows_own_seed_decides_it():
    seeds = torch.randint(0, 2**62, (50,), generator=torch.Generator().manual_seed(0))
    noise = seeded_noise(seeds, cells=1024)
    assert torch.equal(noise[7], seeded_noise(seeds[7:8], cells=1024)[0])
    assert noise.min() >= 0 and noise.max() < 1
    counts = torch.histc(noise, 16, 0, 1)
    assert (counts / counts.mean() - 1).abs().max() < 0.1
    assert torch.corrcoef(noise).fill_diagonal_(0).abs().max() < 0.2  # rows are independent
    assert torch.corrcoef(noise.T[:64]).fill_diagonal_(0).abs().max() < 0.7  # and so are cells
