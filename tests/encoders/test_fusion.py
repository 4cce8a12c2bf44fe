import copy

import pytest
import torch
from timm.models.repvit import RepVit

import encoders
from encoders.fusion import fuse_module
from encoders.image_encoders.repvit import REPVIT_SIZES

IMAGE = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def same(one, other):
    with torch.inference_mode():
        expected, given = one(IMAGE), other(IMAGE)
    assert expected.std() > 0.1
    return (expected - given).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", [*REPVIT_SIZES, "tiny_vit"])
def test_a_fused_encoder_gives_the_same_embedding(name, randomise):
    sam = randomise(encoders.build_sam(name, image_size=128))
    fused = encoders.fuse(sam)
    assert same(sam.image_encoder, fused.image_encoder)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules())
    assert sum(p.numel() for p in fused.parameters()) < sum(p.numel() for p in sam.parameters())


@pytest.mark.parametrize("legacy", [False, True])
def test_both_forms_of_the_depthwise_part_are_folded(legacy, randomise):
    network = randomise(RepVit(embed_dim=(24, 48), depth=(3, 2), num_classes=0, legacy=legacy)).eval()
    folded = copy.deepcopy(network)
    fuse_module(folded)
    assert same(network.forward_features, folded.forward_features)


@pytest.mark.parametrize("name", ["repvit_m0_6", "tiny_vit", "sam_demo"])
def test_the_original_is_left_as_it_was(name, randomise):
    sam = randomise(encoders.build_sam(name, image_size=128))
    sam.image_encoder(IMAGE)  # an embedding made with gradients leaves nothing behind that cannot be copied
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    fused = encoders.fuse(sam)
    assert list(sam.state_dict()) == list(before) and not sam.fused and fused.fused
    assert all(torch.equal(value, before[key]) for key, value in sam.state_dict().items())
    shared = {p.data_ptr() for p in sam.parameters()} & {p.data_ptr() for p in fused.parameters()}
    assert not shared


def test_fusing_twice_changes_nothing(randomise):
    once = encoders.fuse(randomise(encoders.build_sam("repvit_m0_6", image_size=128)))
    twice = encoders.fuse(once)
    assert list(twice.state_dict()) == list(once.state_dict())
    kept = once.state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in twice.state_dict().items())


def test_a_model_with_nothing_to_fold_is_copied(randomise):
    sam = randomise(encoders.build_sam("sam_demo", image_size=128))
    assert same(sam.image_encoder, encoders.fuse(sam).image_encoder)


def test_a_model_in_train_mode_is_fused_with_its_statistics(randomise):
    sam = randomise(encoders.build_sam("repvit_m0_6", image_size=128))
    fused = encoders.fuse(sam.train())
    assert not any(part.training for part in fused.modules()) and sam.training
    assert same(sam.eval().image_encoder, fused.image_encoder)


def test_precision_is_kept(randomise):
    fused = encoders.fuse(randomise(encoders.build_sam("tiny_vit", image_size=64)).to(torch.bfloat16))
    assert {parameter.dtype for parameter in fused.parameters()} == {torch.bfloat16}
