"""BatchNorm statistics taken again: by hand, against torch's own averages, and what is refused."""

import copy

import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError
from encoders.precise_batchnorm import precise_batchnorm
from encoders.sam import Sam


def batches(count, *, size=64, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 3, size, size, generator=generator) * (number + 1) + number for number in range(count)]


def with_encoder(encoder):
    return Sam(arch="a test's", image_encoder=encoder, image_size=64)


@pytest.fixture
def sam(randomise):
    return randomise(encoders.build_sam("repvit_m0_6", image_size=64))


def test_mean_and_variance_of_two_batches_by_hand():
    sam = with_encoder(nn.Sequential(nn.BatchNorm2d(3)))
    first = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)  # mean 2, variance 1
    second = torch.tensor([4.0, 8.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)  # mean 6, variance 4
    norm = precise_batchnorm(sam, [first, second]).image_encoder[0]
    assert norm.running_mean.tolist() == [4, 4, 4]
    assert norm.running_var.tolist() == [6.5, 6.5, 6.5]  # (1 + 4) / 2 of the batches, ((2 - 4)² + (6 - 4)²) / 2 between them


def test_the_second_layer_sees_what_each_batch_makes_of_itself():
    """The first BatchNorm takes each batch's own mean away, so that the second finds nothing between them."""
    sam = with_encoder(nn.Sequential(nn.BatchNorm2d(3, eps=1e-12), nn.BatchNorm2d(3)))
    images = batches(3)
    norm = precise_batchnorm(sam, images).image_encoder[1]
    assert torch.allclose(norm.running_mean, torch.zeros(3), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.ones(3), atol=1e-5)


def test_torchs_cumulative_average_has_the_same_means_and_lacks_the_variance_between_batches(sam):
    images = batches(4)
    precise = precise_batchnorm(sam, images)
    other = copy.deepcopy(sam)
    means = {}
    for name, part in other.image_encoder.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
            part.register_forward_pre_hook(lambda _, x, name=name: means.setdefault(name, []).append(x[0].mean((0, 2, 3))))
    other.image_encoder.train()
    with torch.no_grad():
        for image in images:
            other.image_encoder(image)
    parts = dict(precise.image_encoder.named_modules())
    compared = 0
    for name, part in other.image_encoder.named_modules():
        if not isinstance(part, nn.BatchNorm2d):
            continue
        found, scale = parts[name], part.running_var.sqrt()
        assert ((found.running_mean - part.running_mean) / scale).abs().max() < 1e-4
        between = torch.stack(means[name]).var(0, unbiased=False)
        positions = 2 * 4 * 4  # at least, in a batch, by which torch's unbiased variance is larger
        ratio = found.running_var / (part.running_var + between)
        assert 1 - 1.5 / positions < ratio.min() and ratio.max() < 1 + 1e-4
        compared += 1
    assert compared > 50


def test_the_order_of_equal_batches_and_a_second_time_make_no_difference(sam):
    images = batches(4)
    one, other = precise_batchnorm(sam, images), precise_batchnorm(sam, images[::-1])
    again = precise_batchnorm(one, images)
    found, turned, repeated = (model.state_dict() for model in (one, other, again))
    assert found.keys() == turned.keys() == repeated.keys()
    for key, value in found.items():
        assert torch.allclose(value, turned[key], rtol=1e-6, atol=1e-7), key
        assert torch.allclose(value, repeated[key], rtol=1e-6, atol=1e-7), key


def test_statistics_of_another_scale_come_right_and_the_given_model_stays(sam):
    images = batches(3)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    precise = precise_batchnorm(sam, images)
    assert all(torch.equal(value, before[key]) for key, value in sam.state_dict().items())
    assert not any(part._forward_pre_hooks for part in precise.modules())
    assert not any(part.training for part in precise.modules()) and not sam.training
    changed = {key for key, value in precise.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if "image_encoder" in key and "running" in key}
    assert precise.state_dict()["image_encoder.stem.conv1.bn.running_mean"].dtype == torch.float32


def test_what_has_no_statistics_is_refused(sam):
    with pytest.raises(InputError, match="before the model is fused"):
        precise_batchnorm(encoders.fuse(sam), batches(1))
    with pytest.raises(InputError, match="no BatchNorm"):
        precise_batchnorm(with_encoder(nn.Sequential(nn.Conv2d(3, 3, 1))), batches(1))
    with pytest.raises(InputError, match="no images"):
        precise_batchnorm(sam, [])
    with pytest.raises(InputError, match="not finite"):
        precise_batchnorm(sam, [torch.full((1, 3, 64, 64), torch.nan)])
