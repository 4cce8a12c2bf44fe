"""The original projects' checkpoints: every name and shape, both ways, and the same numbers out."""

import pytest
import torch

import encoders
from encoders.image_encoders.repvit import REPVIT_SIZES
from encoders.weights.keymaps import identify, key_table


def random_state(shapes, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {
        key: torch.randn(shape, generator=generator) if shape else torch.randint(9, (), generator=generator)
        for key, shape in shapes.items()
    }
    return {key: tensor.abs() if key.endswith("running_var") else tensor for key, tensor in state.items()}


def shapes_of(state):
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def test_the_released_repvit_sam_goes_in_and_comes_out_the_same(key_list, tmp_path):
    names = key_list("repvit_sam")
    assert len(names) == 1598
    state = random_state(names)
    torch.save(state, tmp_path / "repvit_sam.pt")
    back = encoders.official_state_dict(encoders.load(tmp_path / "repvit_sam.pt", arch="repvit_m2_3"))
    assert shapes_of(back) == names
    assert list(back) == list(names)
    assert all(torch.equal(back[key], state[key]) for key in names)


def test_mobile_sam_goes_in_and_comes_out_the_same_but_for_its_unused_head(key_list, tmp_path):
    names = key_list("mobile_sam")
    assert len(names) == 439
    state = random_state(names)
    torch.save(state, tmp_path / "mobile_sam.pt")
    back = encoders.official_state_dict(encoders.load(tmp_path / "mobile_sam.pt", arch="tiny_vit"))
    assert shapes_of(back) == names
    unused = {key for key in names if key.startswith(("image_encoder.head.", "image_encoder.norm_head."))}
    assert len(unused) == 4
    assert all(torch.equal(back[key], state[key]) for key in names.keys() - unused)
    assert all(not back[key].any() for key in unused)


@pytest.mark.parametrize("name", REPVIT_SIZES)
def test_every_width_has_a_table_of_its_own_and_is_told_by_its_widths_and_rows(name):
    with torch.device("meta"):
        sam = encoders.build_sam(name, image_size=64)
    official = encoders.official_state_dict(sam)
    assert len(official) == len(sam.state_dict())
    backbone = {key for key in official if key.startswith("image_encoder.") and ".neck." not in key}
    assert all(key.startswith("image_encoder.features.") for key in backbone)
    looks = identify({key: tensor.shape for key, tensor in official.items()})
    assert looks.loadable and looks.arch == name


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "repvit_m0_6" else pytest.mark.slow) for name in REPVIT_SIZES],  # 2 to 11 s each
)
def test_a_student_under_official_names_comes_back_with_its_values(name, randomise, tmp_path):
    sam = randomise(encoders.build_sam(name, image_size=64))
    torch.save(encoders.official_state_dict(sam), tmp_path / "student.pt")
    again = encoders.load(tmp_path / "student.pt", image_size=64)
    assert again.arch == name
    found = again.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in sam.state_dict().items())


def test_a_segment_anything_checkpoint_keeps_its_names():
    with torch.device("meta"):
        sam = encoders.build_sam("sam_vit_b")
    assert list(encoders.official_state_dict(sam)) == list(sam.state_dict())


def test_a_row_by_hand():
    """Row 8 of M2.3 is the first downsample, row 7 the block before it (six rows of stage 1 come after the stem)."""
    official = key_table("repvit_m2_3").official
    stage = "image_encoder.stages.1"
    assert official(f"{stage}.downsample.pre_block.token_mixer.conv1.bias") == (
        "image_encoder.features.7.token_mixer.0.conv1.bias"
    )
    assert official(f"{stage}.downsample.channel_downsample.bn.weight") == (
        "image_encoder.features.8.token_mixer.2.bn.weight"
    )
    assert official(f"{stage}.blocks.0.se.fc1.bias") == "image_encoder.features.9.token_mixer.1.fc1.bias"
    assert official("mask_decoder.iou_token.weight") == "mask_decoder.iou_token.weight"


def test_half_precision_and_wrapped_checkpoints_load(randomise, tmp_path):
    sam = randomise(encoders.build_sam("repvit_m0_6", image_size=64))
    state = {k: v.half() if v.is_floating_point() else v for k, v in encoders.official_state_dict(sam).items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "half.pt")
    again = encoders.load(tmp_path / "half.pt", arch="repvit_m0_6", image_size=64)
    key = "image_encoder.neck.smooth.weight"
    assert again.state_dict()[key].dtype == torch.float32
    assert torch.equal(again.state_dict()[key], sam.state_dict()[key].half().float())


def test_a_fused_model_has_no_official_names():
    fused = encoders.fuse(encoders.build_sam("repvit_m0_6", image_size=64))
    with pytest.raises(encoders.InputError, match="fused"):
        encoders.official_state_dict(fused)
