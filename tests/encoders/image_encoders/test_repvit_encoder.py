import copy

import pytest
import timm
import torch
from timm.models.repvit import RepVggDw

import encoders
from encoders.fusion import fuse_module
from encoders.image_encoders.repvit import REPVIT_SIZES, RepVitEncoder, TokenMixer, build_classifier

# Parameters of the classification networks with one head: as trained, and re-parameterised (the published counts).
# Source: THU-MIG/RepViT's own code; the right column rounds to the paper's 5.1, 6.8, 8.2, 14.0 and 22.9 million.
COUNTS = {
    "repvit_m0_6": (2_487_292, 2_468_072),
    "repvit_m0_9": (5_103_560, 5_067_056),
    "repvit_m1_0": (6_852_900, 6_810_312),
    "repvit_m1_1": (8_288_888, 8_244_312),
    "repvit_m1_5": (14_130_408, 14_049_992),
    "repvit_m2_3": (23_046_512, 22_926_792),
}
ROWS = {
    "repvit_m0_6": 17,
    "repvit_m0_9": 26,
    "repvit_m1_0": 26,
    "repvit_m1_1": 24,
    "repvit_m1_5": 42,
    "repvit_m2_3": 54,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_variant_is_measured():
    assert set(COUNTS) == set(REPVIT_SIZES) == set(ROWS)


@pytest.mark.parametrize("name", COUNTS)
def test_classification_networks_have_the_published_parameter_counts(name):
    network = build_classifier(name).eval()
    trained = count(network)
    fuse_module(network)
    assert (trained, count(network)) == COUNTS[name]
    assert REPVIT_SIZES[name].rows == ROWS[name]


@pytest.mark.parametrize("name", [name for name in COUNTS if name != "repvit_m0_6"])
def test_variants_are_those_of_timm(name):
    timms = timm.create_model(name, pretrained=False).state_dict()
    ours = build_classifier(name, distillation=True).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in timms.items()}


def test_encoder_of_m2_3_has_the_size_of_the_original():
    sam = encoders.build_sam("repvit_m2_3", image_size=64)
    assert count(sam.image_encoder) == 23_158_920
    assert count(sam) == 27_223_480
    assert count(encoders.fuse(sam).image_encoder) == 23_040_480


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("image_size", [64, 192])
def test_an_embedding_has_256_channels_at_stride_16(name, image_size):
    encoder = encoders.build_image_encoder(name, image_size=image_size).eval()
    with torch.inference_mode():
        embedding = encoder(torch.randn(2, 3, image_size, image_size))
    assert embedding.shape == (2, 256, image_size // 16, image_size // 16)
    assert encoder.image_size == image_size


def test_last_stride_2_is_the_classification_backbone(randomise):
    encoder = randomise(RepVitEncoder("repvit_m0_9", image_size=64, last_stride=2)).eval()
    network = build_classifier("repvit_m0_9", num_classes=0).eval()
    network.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("neck.")})
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(encoder(image), encoder.neck(network.forward_features(image)))


def test_outputs_and_gradients_are_those_of_timms_blocks(randomise):
    ours = randomise(RepVitEncoder("repvit_m0_6", image_size=64)).train()
    theirs = copy.deepcopy(ours)
    for module in theirs.modules():
        if type(module) is TokenMixer:
            module.__class__ = RepVggDw
    image = torch.randn(2, 3, 64, 64)
    outputs = [encoder(image) for encoder in (ours, theirs)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)
    for output in outputs:
        output.square().mean().backward()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert sum(type(module) is TokenMixer for module in ours.modules()) == sum(REPVIT_SIZES["repvit_m0_6"].depths) + 3
