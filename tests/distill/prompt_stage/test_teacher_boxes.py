"""Boxes on the device."""

import torch

from distill.prompt_stage import teacher_boxes
from distill.prompt_stage.teacher_boxes import jitter_boxes, mask_boxes


def test_boxes_of_masks_in_pixels_of_the_input_frame():
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[0, 2:5, 7:15] = True
    masks[1, 15, 0] = True
    boxes, there = mask_boxes(masks)
    assert boxes.tolist() == [[28, 8, 60, 20], [0, 60, 4, 64], [0, 0, 0, 0]]
    assert there.tolist() == [True, True, False]


def test_jitter_has_the_spread_of_sams_training_and_its_limit():
    boxes = torch.tensor([[300.0, 400.0, 400.0, 440.0]]).repeat(4000, 1)
    moved = jitter_boxes(boxes, seeds=torch.arange(4000), image_size=1024)
    shift = moved - boxes
    assert shift[:, 0].abs().max() <= 20 and 8.5 < float(shift[:, 0].std()) < 10.5  # sigma 10, cut off at 20
    assert 3.7 < float(shift[:, 1].std()) < 4.3  # sigma 4
    assert abs(float(shift.mean())) < 0.3


def test_a_box_moves_by_its_own_seed_stays_in_the_frame_and_keeps_its_corners_in_order():
    boxes = torch.tensor([[0.0, 60.0, 3.0, 64.0], [10.0, 10.0, 10.5, 60.0]])
    moved = jitter_boxes(boxes, seeds=torch.tensor([5, 6]), image_size=64)
    alone = jitter_boxes(boxes[1:], seeds=torch.tensor([6]), image_size=64)
    assert torch.equal(moved[1:], alone)
    assert (moved >= 0).all() and (moved <= 64).all() and (moved[:, 2:] >= moved[:, :2]).all()


def test_no_random_number_makes_a_box_that_is_not_finite(monkeypatch):
    """The empty box of a teacher's empty mask counts for nothing, but NaN times 0 would end the run."""
    extremes = torch.tensor([[0.0, 1 - 2.0**-24, 0.0, 1 - 2.0**-24]])
    monkeypatch.setattr(teacher_boxes, "seeded_noise", lambda seeds, *, cells: extremes.expand(len(seeds), cells))
    boxes = torch.tensor([[0.0, 0.0, 0.0, 0.0], [200.0, 300.0, 400.0, 600.0]])
    moved = jitter_boxes(boxes, seeds=torch.tensor([1, 2]), image_size=1024)
    assert moved.tolist() == [[0, 0, 0, 0], [180, 320, 380, 620]]
