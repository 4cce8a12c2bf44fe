"""What a student can start from: timm's and the projects' ImageNet networks, and other SAMs, layer by layer."""

import pytest
import timm
import torch
from timm.models.tiny_vit import tiny_vit_5m_224  # by its function: mobile_sam registers another one under this name

import encoders
from encoders.image_encoders.repvit import RepVitEncoder
from encoders.image_encoders.tiny_vit import TinyVitEncoder
from encoders.weights.keymaps.tiny_vit import tiny_vit_official
from encoders.weights.safetensors_files import write_safetensors
from encoders.weights.starting import copy_fitting, layer_of, starting_weights


def saved(network, folder):
    """timm's own file, as its hub has it."""
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    write_safetensors(folder / "model.safetensors", state, metadata={"format": "pt"})
    return folder / "model.safetensors"


@torch.inference_mode()
def features(encoder, image):
    stem = encoder.stem if isinstance(encoder, RepVitEncoder) else encoder.patch_embed
    return encoder.eval().stages(stem(image))


@pytest.mark.parametrize("distillation", [False, True])
def test_timms_repvit_gives_its_features(distillation, randomise, tmp_path):
    """`repvit_m1_1.dist_450e_in1k` has a second head; the stride of the last stage is the only difference from a student."""
    trained = randomise(timm.create_model("repvit_m1_1", pretrained=False, distillation=distillation)).eval()
    weights = starting_weights(saved(trained, tmp_path))
    assert weights.arch == "repvit_m1_1" and not weights.has_neck
    encoder = RepVitEncoder("repvit_m1_1", image_size=64, last_stride=2)
    neck = {key: value.clone() for key, value in encoder.neck.state_dict().items()}
    copied = copy_fitting(encoder, weights.tensors)
    assert copied.share == 1.0 and copied.left == ["neck.reduce", "neck.norm1", "neck.smooth", "neck.norm2"]
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(features(encoder, image), trained.forward_features(image), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, neck[key]) for key, value in encoder.neck.state_dict().items())


@pytest.mark.parametrize("names", ["timm", "original"])
def test_tiny_vits_imagenet_network_gives_its_features(names, randomise, tmp_path):
    trained = randomise(tiny_vit_5m_224(pretrained=False)).eval()
    path = saved(trained, tmp_path)
    if names == "original":
        names = {key: tiny_vit_official(f"image_encoder.{key}").removeprefix("image_encoder.") for key in trained.state_dict()}
        state = {names[key]: value for key, value in trained.state_dict().items()}
        state["layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.long)
        state |= {"norm_head.weight": torch.ones(320), "head.weight": torch.ones(1000, 320)}
        torch.save({"model": state}, tmp_path / "tiny_vit_5m_22kto1k_distill.pth")
        path = tmp_path / "tiny_vit_5m_22kto1k_distill.pth"
    weights = starting_weights(path)
    assert weights.arch == "tiny_vit"
    encoder = TinyVitEncoder(image_size=64, last_stride=2)
    assert copy_fitting(encoder, weights.tensors).share == 1.0
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = trained.forward_features(image)
    torch.testing.assert_close(features(encoder, image), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["tiny_vit_11m_224", "repvit_m3"])
def test_a_size_that_is_not_in_the_registry_is_read_and_named(name, tmp_path):
    weights = starting_weights(saved(timm.create_model(name, pretrained=False), tmp_path))
    assert weights.arch is None and not any(key.startswith("head") for key in weights.tensors)
    assert ("TinyViT-5M's (64, 128, 160, 320)" in weights.what) == name.startswith("tiny")


def test_a_deeper_student_starts_from_the_blocks_that_it_shares(randomise, tmp_path):
    small = randomise(encoders.build_sam("repvit_m1_1", image_size=64))
    encoders.save_sam(small, tmp_path / "small.safetensors")
    student = encoders.build_image_encoder("repvit_m1_5", image_size=64)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    weights = starting_weights(tmp_path / "small.safetensors")
    copied = copy_fitting(student, weights.tensors)
    assert (copied.tensors, copied.total) == (651, 1137) and 0.5 < copied.share < 0.6
    assert "stages.2.blocks.12.token_mixer.conv" in copied.left and "neck.reduce" not in copied.left
    for key, value in student.state_dict().items():
        filled = layer_of(key) not in copied.left
        assert torch.equal(value, weights.tensors[key] if filled else before[key]), key


def test_a_convolution_is_not_copied_without_its_batchnorm():
    student = encoders.build_image_encoder("repvit_m0_6", image_size=64)
    state = {key: value + 1 for key, value in student.state_dict().items()}
    del state["stem.conv1.bn.running_var"]
    state["stem.conv2.c.weight"] = torch.zeros(1)
    copied = copy_fitting(student, state)
    assert copied.left == ["stem.conv1", "stem.conv2"]
    assert not torch.equal(student.state_dict()["stem.conv1.c.weight"], state["stem.conv1.c.weight"])


def test_a_fused_model_is_refused(tmp_path):
    encoders.save_sam(encoders.fuse(encoders.build_sam("repvit_m0_6", image_size=64)), tmp_path / "fused.safetensors")
    with pytest.raises(encoders.InputError, match="fused"):
        starting_weights(tmp_path / "fused.safetensors")


@pytest.mark.parametrize(
    "key",
    ["features.0.2.c.weight", "stem.conv2.c.weight", "patch_embed.conv1.conv.weight", "patch_embed.seq.0.c.weight"],
)
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
def test_a_telling_name_with_a_strange_shape_starts_nothing(key, shape, tmp_path):
    torch.save({key: torch.zeros(shape), "patch_embed.conv2.conv.weight": torch.zeros(())}, tmp_path / "m.pth")
    student = encoders.build_image_encoder("repvit_m0_6", image_size=64)
    try:
        assert copy_fitting(student, starting_weights(tmp_path / "m.pth").tensors).share == 0
    except encoders.InputError as error:
        assert "looks like" in str(error)


def test_integers_are_no_weights():
    student = encoders.build_image_encoder("repvit_m0_6", image_size=64)
    state = {key: value.long() for key, value in student.state_dict().items()}
    assert copy_fitting(student, state).tensors == 0
