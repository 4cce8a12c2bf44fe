"""Where a student starts: `model.init`, what is said of it, and frozen BatchNorm."""

import pytest
import timm
import torch
from pydantic import ValidationError
from timm.models.tiny_vit import tiny_vit_5m_224  # by its function: mobile_sam registers another one under this name
from torch import nn

import encoders
from distill.config.runs import ModelConfig
from distill.frozen_batchnorm import freeze_batchnorm
from distill.starting_point import starting_point
from distill.sync_batchnorm import synchronize_batchnorm
from encoders.errors import InputWarning


def config(init, arch="repvit_m0_6", **more):
    return ModelConfig(arch=arch, image_size=64, init=str(init), **more)


@pytest.fixture
def student(tmp_path):
    """The file of an earlier student."""
    torch.manual_seed(1)
    encoders.save_sam(encoders.build_sam("repvit_m1_1", image_size=64), tmp_path / "m1_1.safetensors")
    return tmp_path / "m1_1.safetensors"


def test_a_student_of_the_same_size_goes_on_with_all_of_an_earlier_one(student):
    start = starting_point(config(student, "repvit_m1_1"))
    expected = encoders.load(student).image_encoder.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in start.encoder.state_dict().items())
    assert start.facts == {"start": {"what": "a SAM with repvit_m1_1", "tensors": 651, "of": 651}}


def test_what_another_size_leaves_random_is_said_and_listed(student):
    with pytest.warns(InputWarning, match="651 of 1137 tensors of repvit_m1_5 start from it .*run.json"):
        facts = starting_point(config(student, "repvit_m1_5")).facts["start"]
    assert facts["tensors"] == 651 and len(facts["left_random"]) == 108


def test_layers_without_statistics_cannot_be_frozen(student):
    with pytest.raises(encoders.InputError, match="leaves 108 layers of repvit_m1_5 at random.*model.freeze_batchnorm=false"):
        starting_point(config(student, "repvit_m1_5", freeze_batchnorm=True))


def test_a_network_of_other_widths_is_refused(student):
    with pytest.raises(encoders.InputError, match="model.init: .*5 of 468 tensors of repvit_m0_6 .*, 0% .*same widths"):
        starting_point(config(student))


def test_an_imagenet_network_fills_all_but_the_neck(tmp_path):
    trained = tiny_vit_5m_224(pretrained=False)
    torch.save(trained.state_dict(), tmp_path / "timm.pth")
    start = starting_point(config(tmp_path / "timm.pth", "tiny_vit"))
    assert start.facts["start"]["left_random"] == ["neck.reduce", "neck.norm1", "neck.smooth", "neck.norm2"]
    kept = {key: value for key, value in trained.state_dict().items() if "stages.3.blocks.1.mlp" not in key}
    torch.save(kept, tmp_path / "cut.pth")
    with pytest.raises(encoders.InputError, match="missing .*stages.3.blocks.1.mlp"):
        starting_point(config(tmp_path / "cut.pth", "tiny_vit"))


def test_a_larger_tiny_vit_is_refused_by_name(tmp_path):
    torch.save(timm.create_model("tiny_vit_21m_224", pretrained=False).state_dict(), tmp_path / "timm.pth")
    with pytest.raises(encoders.InputError, match="TinyViT-5M"):
        starting_point(config(tmp_path / "timm.pth", "tiny_vit"))


def test_nothing_that_is_known_is_refused(tmp_path):
    torch.save({"layer.weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(encoders.InputError, match="model.init: .*no model known here"):
        starting_point(config(tmp_path / "other.pth"))


@pytest.mark.parametrize("arch", ["repvit_m1_1", "sam_demo"])
def test_frozen_statistics_are_used_and_stay_while_the_rest_learns(arch, tmp_path):
    encoders.save_sam(encoders.build_sam(arch, image_size=64), tmp_path / "w.safetensors")
    encoder = starting_point(config(tmp_path / "w.safetensors", arch, freeze_batchnorm=True)).encoder
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder.train()
    assert encoder.training
    training = encoder(image)
    training.square().mean().backward()
    encoder.eval()
    assert torch.equal(training, encoder(image))
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 20 and all(norm.weight.grad is not None for norm in norms)


def test_frozen_statistics_need_some_to_start_from_and_are_not_synchronised():
    with pytest.raises(ValidationError, match="freeze_batchnorm keeps the statistics of init"):
        ModelConfig(arch="repvit_m0_6", freeze_batchnorm=True)
    module = nn.Sequential(nn.BatchNorm2d(2))
    freeze_batchnorm(module)
    with pytest.raises(TypeError, match="FrozenBatchNorm2d"):
        synchronize_batchnorm(module, device_type="cpu")
