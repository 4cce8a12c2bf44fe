"""Whether a fusion check can tell a right fusion from a wrong one."""

import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError
from encoders.export.certification.fusion_check import (
    check_fusion,
    fusion_difference,
    random_batchnorm_difference,
    randomize_batchnorm,
    zero_weight_share,
)
from encoders.export.untrained import untrained_subject
from encoders.image_encoders.repvit import REPVIT_SIZES

IMAGES = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))]


@pytest.mark.parametrize("name", [*REPVIT_SIZES, "tiny_vit"])
def test_every_encoder_is_the_same_when_fused_also_with_random_statistics(name):
    encoder = encoders.build_sam(name, image_size=64).image_encoder
    difference = random_batchnorm_difference(encoder, IMAGES)
    assert 0 < difference < 1e-4


class WrongFusion(nn.Sequential):
    """Folds the BatchNorm's weight and forgets its mean."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

    def fuse(self) -> nn.Module:
        conv, norm = self[0], self[1]
        folded = nn.Conv2d(3, 4, 1)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded.weight.data = conv.weight * scale[:, None, None, None]
        folded.bias.data = conv.bias * scale + norm.bias
        return folded


def test_a_fusion_that_forgets_the_mean_is_seen_only_with_random_statistics():
    encoder = nn.Sequential(WrongFusion()).eval()
    fused = encoders.fusion.fuse_module
    fresh = nn.Sequential(WrongFusion()).eval()
    fresh.load_state_dict(encoder.state_dict())
    fused(fresh)
    assert fusion_difference(encoder, fresh, IMAGES) < 1e-6  # fresh statistics: mean 0
    difference = random_batchnorm_difference(encoder, IMAGES)
    with pytest.raises(InputError, match="differs from the unfused one by .* on photos"):
        check_fusion(difference, on="photos")


def test_a_model_without_batchnorm_has_nothing_to_randomise():
    assert random_batchnorm_difference(nn.Conv2d(3, 4, 1), IMAGES) is None


def test_nan_is_no_agreement():
    right, wrong = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    wrong.bias.data[2] = float("nan")
    difference = fusion_difference(right, wrong, [*IMAGES, torch.zeros(1, 3, 8, 8)])
    with pytest.raises(InputError, match="by nan"):
        check_fusion(difference, on="photos")


def test_random_batchnorms_are_the_same_for_the_same_seed_and_leave_the_global_generator_alone():
    one, two, other = (nn.BatchNorm2d(5) for _ in range(3))
    state = torch.get_rng_state()
    randomize_batchnorm(one, seed=1)
    randomize_batchnorm(two, seed=1)
    randomize_batchnorm(other, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.running_var, two.running_var) and not torch.equal(one.running_var, other.running_var)
    assert (one.running_var > 0).all() and one.weight.std() > 0


@pytest.mark.parametrize(("name", "low", "high"), [("repvit_m0_9", 0.40, 0.41), ("tiny_vit", 0.005, 0.02)])
def test_the_share_of_zero_weights_is_what_was_counted(name, low, high):
    fused = encoders.fuse(encoders.build_sam(name, image_size=64)).image_encoder
    assert low < zero_weight_share(fused) < high


@pytest.mark.parametrize("name", ["repvit_m0_6", "tiny_vit", "sam_vit_b"])
def test_an_untrained_subject_has_no_tensor_of_zeros_and_is_the_same_each_time(name):
    subject = untrained_subject(name, image_size=64)
    assert zero_weight_share(encoders.fuse(subject).image_encoder) == 0
    again = untrained_subject(name, image_size=64)
    repeated = again.state_dict()
    assert all(torch.equal(value, repeated[key]) for key, value in subject.state_dict().items())


@pytest.mark.parametrize("name", ["repvit_m0_6", "repvit_m2_3", "tiny_vit"])
@torch.inference_mode()
def test_an_untrained_subject_tells_two_images_apart_and_does_not_amplify_rounding(name):
    encoder = untrained_subject(name, image_size=128).image_encoder
    image, other = torch.randn(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    embedding = encoder(image)
    assert (encoder(other) - embedding).abs().mean() > 0.2 * embedding.abs().mean()  # it was 0.004 with random statistics
    exact = encoder.double()(image.double())
    assert (embedding - exact).abs().max() < 1e-5 * exact.abs().max()
