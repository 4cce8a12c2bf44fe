"""RepViT's ImageNet checkpoints as the start of a student."""

import argparse

import pytest
import timm
import torch

import encoders
from encoders.image_encoders.repvit import RepVitEncoder, build_classifier
from encoders.weights.keymaps.repvit import repvit_prefixes
from encoders.weights.keymaps.table import rename

HEADS = {
    "classifier.classifier.l.weight": torch.zeros(1000, 384),
    "classifier.classifier_dist.l.bias": torch.zeros(1000),
}


def original_names(network, name):
    """A backbone's weights as the original's training script saves them, heads included."""
    prefixes = dict(repvit_prefixes(name))
    state = {rename(k, prefixes): v for k, v in network.state_dict().items() if not k.startswith("head")}
    return {"model": state | HEADS, "epoch": 299, "args": argparse.Namespace(lr=1e-3, model=name)}


@pytest.fixture
def image():
    return torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def stage_outputs(network, image):
    features = network.stem(image)
    outputs = []
    for stage in network.stages[:3]:  # the last stage differs in stride
        features = stage(features)
        outputs.append(features)
    return outputs


@pytest.mark.parametrize("legacy", [False, True])
def test_a_student_starts_with_the_features_of_the_checkpoint(legacy, image, randomise, tmp_path):
    """timm's repvit_m1 is the legacy form of M0.9: its 1 x 1 branch has a BatchNorm, its sum has none."""
    trained = randomise(timm.create_model("repvit_m1" if legacy else "repvit_m0_9", pretrained=False)).eval()
    content = original_names(trained, "repvit_m0_9")
    assert ("features.1.token_mixer.0.conv1.bn.weight" in content["model"]) is legacy
    torch.save(content, tmp_path / "repvit.pth")
    sam = encoders.build_sam("repvit_m0_9", image_size=128)
    neck = sam.image_encoder.neck.reduce.weight.clone()
    encoders.init_from_imagenet(sam, tmp_path / "repvit.pth")
    for ours, theirs in zip(stage_outputs(sam.image_encoder, image), stage_outputs(trained, image), strict=True):
        assert theirs.std() > 0.01
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert torch.equal(sam.image_encoder.neck.reduce.weight, neck)


def test_the_last_stage_is_read_too(image, randomise, tmp_path):
    trained = randomise(build_classifier("repvit_m0_9")).eval()
    torch.save(original_names(trained, "repvit_m0_9"), tmp_path / "repvit.pth")
    encoder = RepVitEncoder("repvit_m0_9", image_size=128, last_stride=2).eval()
    encoders.init_from_imagenet(encoder, tmp_path / "repvit.pth")
    with torch.inference_mode():
        assert torch.equal(encoder.stages(encoder.stem(image)), trained.forward_features(image))


def test_timms_own_file_is_read(image, randomise, tmp_path):
    trained = randomise(timm.create_model("repvit_m0_9", pretrained=False)).eval()
    torch.save(trained.state_dict(), tmp_path / "timm.bin")
    sam = encoders.build_sam("repvit_m0_9", image_size=128)
    encoders.init_from_imagenet(sam, tmp_path / "timm.bin")
    ours, theirs = stage_outputs(sam.image_encoder, image)[2], stage_outputs(trained, image)[2]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_another_size_is_refused_by_name(randomise, tmp_path):
    torch.save(original_names(build_classifier("repvit_m1_1"), "repvit_m1_1"), tmp_path / "repvit.pth")
    sam = encoders.build_sam("repvit_m0_9", image_size=64)
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    with pytest.raises(encoders.InputError, match="repvit_m1_1") as caught:
        encoders.init_from_imagenet(sam, tmp_path / "repvit.pth")
    assert "expected an ImageNet network of repvit_m0_9" in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in sam.state_dict().items())


def test_other_encoders_are_refused(tmp_path):
    with pytest.raises(encoders.InputError, match="only RepViT and TinyViT"):
        encoders.init_from_imagenet(encoders.build_sam("sam_demo", image_size=64), tmp_path / "absent.pth")


def test_a_sam_is_no_imagenet_network(tmp_path):
    sam = encoders.build_sam("repvit_m0_6", image_size=64)
    encoders.save_sam(sam, tmp_path / "sam.safetensors")
    with pytest.raises(encoders.InputError, match="holds a SAM with repvit_m0_6; expected an ImageNet network of repvit_m0_6"):
        encoders.init_from_imagenet(sam, tmp_path / "sam.safetensors")
