import math

import pytest
import torch

from distill.mask_stage.losses import bce_loss, dice_loss, focal_loss, mask_iou, mask_loss, soft_dice_loss

LOGIT = math.log(3)  # sigmoid = 0.75


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A 1 x 3 mask whose last cell is padding: object, background, padding with a wild logit."""
    logits = torch.tensor([[[[LOGIT, -LOGIT, 50.0]]]])
    target = torch.tensor([[[1.0, 0.0, 0.0]]])
    valid = torch.tensor([[[True, True, False]]])
    return logits, target, valid


def test_bce_by_hand_ignores_padding():
    assert bce_loss(*case()).item() == pytest.approx(-math.log(0.75))


def test_bce_weighs_a_small_object_by_its_neighbourhood_not_by_the_frame():
    logits, target = torch.zeros(1, 1, 32, 48), torch.zeros(1, 32, 48)
    target[0, 4:7, 30:40] = 1.0  # 3 x 10 cells, doubled each way: 120 of 1,536
    loss = bce_loss(logits, target, torch.ones(1, 32, 48, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(2) * 1536 / 120)


@pytest.mark.parametrize(("side", "cells"), [(16, 16), (64, 16), (128, 64)])
def test_the_neighbourhood_of_an_object_of_one_cell_is_a_share_of_the_frame(side, cells):
    logits, target = torch.zeros(1, 1, side, side), torch.zeros(1, side, side)
    target[0, 3, 5] = 1.0
    loss = bce_loss(logits, target, torch.ones(1, side, side, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(2) * side**2 / cells)


def test_bce_with_heavier_objects_is_least_where_the_probability_is_one_in_one_plus_the_weight():
    target = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])  # one cell in four is object, and nothing tells which
    valid = torch.ones_like(target, dtype=torch.bool)
    logit = torch.zeros(1, requires_grad=True)
    loss = bce_loss(logit.expand(1, 1, 1, 4), target, valid, object_weight=3.0)
    assert loss.item() == pytest.approx(math.log(2) * (3 + 3) / 4)
    loss.backward()
    assert logit.grad is not None and logit.grad.item() == pytest.approx(0.0, abs=1e-6)  # 3 x 1 cell = 1 x 3 cells


def test_focal_by_hand_ignores_padding():
    assert focal_loss(*case()).item() == pytest.approx(-math.log(0.75) * 0.25**2)


def test_dice_by_hand_ignores_padding():
    # overlap 0.75, |p| = 1, |t| = 1: 1 - (1.5 + 1) / (2 + 1)
    assert dice_loss(*case()).item() == pytest.approx(1 - 2.5 / 3)


def test_soft_dice_by_hand_ignores_padding_and_is_least_at_the_targets_probabilities():
    # overlap 0.75, |p²| = 0.75² + 0.25², |t²| = 1
    assert soft_dice_loss(*case()).item() == pytest.approx(1 - 2.5 / (0.625 + 1 + 1))
    target = torch.tensor([[[0.9, 0.4, 0.2, 0.1]]])
    valid = torch.ones_like(target, dtype=torch.bool)
    logits = torch.logit(target)[:, None].requires_grad_()
    gradients = {}
    for name, soft in (("soft", True), ("plain", False)):
        weights = {"focal": 0.0, "bce": 0.0, "dice": 1.0}
        (gradients[name],) = torch.autograd.grad(mask_loss(logits, target, valid, weights=weights, soft=soft).sum(), logits)
    assert gradients["soft"].abs().max() < 1e-6
    assert gradients["plain"][0, 0, 0, 1] < -0.004  # would raise the second above one half, and so enlarge the mask


def test_the_loss_of_a_mask_is_the_weighted_sum_of_its_terms_and_without_any_it_is_zero():
    half = -math.log(0.75)  # bce, as above
    given = {"focal": 2.0, "bce": 0.5, "dice": 3.0, "iou": 9.0}
    weighted = mask_loss(*case(), weights=given)
    assert weighted.shape == (1, 1)
    assert weighted.item() == pytest.approx(2 * half * 0.25**2 + 0.5 * half + 3 * (1 - 2.5 / 3))
    heavier = mask_loss(*case(), weights={"focal": 0.0, "bce": 1.0, "dice": 0.0}, object_weight=3.0)
    assert heavier.item() == pytest.approx(2 * half)
    assert mask_loss(*case(), weights=dict.fromkeys(("focal", "bce", "dice"), 0.0)).tolist() == [[0.0]]


def test_iou_by_hand_per_mask():
    logits = torch.tensor([[[[1.0, 1.0, -1.0, 9.0]], [[-1.0, 1.0, 1.0, 9.0]]]])  # two masks of one prompt
    target = torch.tensor([[[1.0, 0.9, 0.2, 1.0]]])
    valid = torch.tensor([[[True, True, True, False]]])
    assert mask_iou(logits, target, valid)[0].tolist() == pytest.approx([1.0, 1 / 3])


def test_iou_of_nothing_with_nothing_is_one():
    empty = torch.zeros(1, 2, 2)
    assert mask_iou(torch.full((1, 1, 2, 2), -1.0), empty, torch.ones(1, 2, 2, dtype=torch.bool)).item() == 1
