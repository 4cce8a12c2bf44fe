"""Losses, schedule and moving average against numbers worked by hand."""

import pytest
import torch
from torch import nn

from distill.config.losses import EmbeddingLossConfig
from distill.ema import Ema
from distill.losses import ChannelScale, embedding_losses, masked_cosine, masked_huber, masked_l1, masked_mse, plain_mse
from distill.schedule import lr_factor


def test_mse_is_a_mean_over_valid_positions_of_each_sample_then_over_samples():
    teacher = torch.zeros(2, 2, 2, 3)
    student = torch.zeros(2, 2, 2, 3)
    valid = torch.zeros(2, 1, 2, 3, dtype=torch.bool)
    student[0, :, 0, 1] = torch.tensor([2.0, 4.0])  # (4 + 16) / 2 channels = 10
    student[0, :, 1, 0] = torch.tensor([100.0, 100.0])  # padding
    valid[0, 0, 0, :2] = True  # two valid positions: 10 / 2 = 5
    student[1, :, 1, 2] = torch.tensor([3.0, 1.0])  # (9 + 1) / 2 = 5
    valid[1, 0, :, 1:] = True
    valid[1, 0, 1, 0] = True  # five valid positions: 5 / 5 = 1
    assert masked_mse(student, teacher, valid) == pytest.approx((5 + 1) / 2)


def test_padding_gets_no_gradient():
    student = torch.randn(1, 4, 2, 3, requires_grad=True)
    valid = torch.tensor([[[[True, True, False], [False, False, False]]]])
    (masked_mse(student, torch.randn(1, 4, 2, 3), valid) + masked_cosine(student, torch.randn(1, 4, 2, 3), valid)).backward()
    moved = student.grad.abs().sum(dim=1)[0] > 0
    assert moved.tolist() == [[True, True, False], [False, False, False]]


def test_cosine_by_hand():
    student = torch.tensor([[3.0, 0.0], [4.0, 2.0]]).view(1, 2, 1, 2)  # (3, 4) and (0, 2)
    teacher = torch.tensor([[1.0, 5.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # (1, 0) and (5, 0)
    valid = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    assert masked_cosine(student, teacher, valid) == pytest.approx(((1 - 0.6) + 1) / 2)


def test_a_term_of_weight_zero_is_not_computed_and_the_others_are_weighted(monkeypatch):
    def never(*_):
        raise AssertionError("computed")

    monkeypatch.setitem(__import__("distill.losses").losses.TERMS, "cosine", never)
    ones, zeros, valid = torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    terms = embedding_losses(ones, zeros, valid, weights=EmbeddingLossConfig(mse=3.0, cosine=0.0))
    assert {name: float(term) for name, term in terms.items()} == {"mse": 3.0}


def test_the_schedule_warms_up_then_follows_a_cosine():
    factors = [lr_factor(step, steps=7, warmup_steps=2, min_ratio=0.1) for step in range(7)]
    assert factors[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert factors[4] == pytest.approx(0.55)  # half way: 0.1 + 0.9 / 2
    assert factors[6] == pytest.approx(0.1)


def test_without_warm_up_the_first_update_has_the_full_rate():
    assert lr_factor(0, steps=5, warmup_steps=0, min_ratio=0.0) == 1.0


def test_the_average_by_hand_with_its_decay_warming_up():
    module = nn.BatchNorm1d(1).half()
    module.weight.data.fill_(1.0)
    ema = Ema(module, decay=0.999)
    for value, count in ((3.0, 7), (0.0, 9)):
        module.weight.data.fill_(value)
        module.num_batches_tracked.fill_(count)
        ema.update()
    # decay 2/11: 1 * 2/11 + 3 * 9/11 = 29/11; then decay 3/12: 29/11 * 1/4
    assert ema.shadow["weight"].dtype == torch.float32
    assert float(ema.shadow["weight"]) == pytest.approx(29 / 44)
    assert int(ema.shadow["num_batches_tracked"]) == 9


def test_the_average_never_forgets_more_slowly_than_asked():
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    ema = Ema(module, decay=0.1)
    module.weight.data.fill_(1.0)
    ema.update()
    assert float(ema.shadow["weight"]) == pytest.approx(0.9)


def test_an_average_goes_on_from_its_saved_state():
    module = nn.Linear(2, 1)
    ema = Ema(module, decay=0.9)
    ema.update()
    other = Ema(nn.Linear(2, 1), decay=0.9)
    other.load_state_dict(updates=ema.updates, shadow=ema.shadow)
    assert other.updates == 1
    assert torch.equal(other.shadow["weight"], module.weight)


def test_the_plain_form_counts_padding_and_the_others_do_not():
    teacher = torch.zeros(1, 2, 1, 2)
    student = torch.tensor([[[[1.0, 4.0]], [[3.0, 8.0]]]])  # (1, 3) on the photo, (4, 8) on padding
    valid = torch.tensor([[[[True, False]]]])
    assert plain_mse(student, teacher, valid) == pytest.approx((1 + 9 + 16 + 64) / 4)
    assert masked_l1(student, teacher, valid) == pytest.approx((1 + 3) / 2)
    assert masked_huber(student, teacher, valid, delta=2.0) == pytest.approx((1 / 2 + 2 * (3 - 1)) / 2)


def test_the_delta_of_huber_comes_from_the_config():
    ones, zeros, valid = torch.full((1, 2, 1, 1), 4.0), torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    weights = EmbeddingLossConfig(mse=0, huber=2.0, huber_delta=0.5)
    assert float(embedding_losses(ones, zeros, valid, weights=weights)["huber"]) == pytest.approx(2 * 0.5 * (4 - 0.25))


def test_normalised_by_channel_each_channel_counts_by_its_deviation():
    student = torch.tensor([7.0, 1.0]).view(1, 2, 1, 1)
    teacher = torch.tensor([3.0, 0.5]).view(1, 2, 1, 1)
    valid = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    scale = ChannelScale(torch.tensor([3.0, 0.0]).view(1, 2, 1, 1), torch.tensor([4.0, 0.5]).view(1, 2, 1, 1))
    weights = EmbeddingLossConfig(mse=1, cosine=1, normalize="channel")
    losses = embedding_losses(student, teacher, valid, weights=weights, scale=scale)
    assert float(losses["mse"]) == pytest.approx(((4 / 4) ** 2 + (0.5 / 0.5) ** 2) / 2)
    assert float(losses["cosine"]) == pytest.approx(1 - 2 / 5**0.5)  # (1, 2) against (0, 1)


def test_statistics_that_the_config_asks_for_cannot_be_forgotten():
    ones, valid = torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="scale"):
        embedding_losses(ones, ones, valid, weights=EmbeddingLossConfig(normalize="channel"))
