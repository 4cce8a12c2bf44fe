"""RepViT's names at THU-MIG (`features.N`, N counts the rows of its table) and timm's, which are ours.

Source: THU-MIG/RepViT, `model/repvit.py`; the same names with `image_encoder.` before them in `repvit_sam.pt`.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from encoders.image_encoders.repvit import REPVIT_SIZES

_BLOCK = {
    "token_mixer": "token_mixer.0",
    "se": "token_mixer.1",
    "channel_mixer.conv1": "channel_mixer.m.0",
    "channel_mixer.conv2": "channel_mixer.m.2",
}
_DOWNSAMPLE = {
    "spatial_downsample": "token_mixer.0",
    "channel_downsample": "token_mixer.2",
    "ffn.conv1": "channel_mixer.m.0",
    "ffn.conv2": "channel_mixer.m.2",
}
_STEM = {"stem.conv1": "features.0.0", "stem.conv2": "features.0.2"}
_LEGACY = re.compile(r"\.token_mixer\.(0\.)?conv1\.(c|bn)\.")  # the original's names or timm's
_STATISTICS = ("weight", "bias", "running_mean", "running_var")
_NECK = {"neck.reduce": "neck.0", "neck.norm1": "neck.1", "neck.smooth": "neck.2", "neck.norm2": "neck.3"}


def repvit_prefixes(name: str) -> Iterator[tuple[str, str]]:
    """(our prefix, the original's prefix) of every part of a RepViT encoder, backbone and neck."""
    yield from _STEM.items()
    row = 1
    for stage, depth in enumerate(REPVIT_SIZES[name].depths):
        if stage:  # two rows lead into a stage: the block before the downsample, and the downsample
            yield from _row(f"stages.{stage}.downsample.pre_block", row, _BLOCK)
            yield from _row(f"stages.{stage}.downsample", row + 1, _DOWNSAMPLE)
            row += 2
        for block in range(depth):
            yield from _row(f"stages.{stage}.blocks.{block}", row, _BLOCK)
            row += 1
    yield from _NECK.items()


def _row(ours: str, row: int, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for our_part, their_part in names.items():
        yield f"{ours}.{our_part}", f"features.{row}.{their_part}"


def upgrade_legacy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring legacy RepVGGDW parts to the current form; a state without any is returned as it is.

    Legacy, the form of the paper's first version: `conv(x) + conv1(x) + x` with a BatchNorm in `conv1`. Current:
    `bn(conv(x) + conv1(x) + x)` with a plain biased `conv1`. In eval mode the two are equal when conv1's BatchNorm is
    folded into it and the outer one is made the identity.

    A part that lacks a tensor or has one of another shape is left as it is, for the strict comparison to name.
    """
    upgraded = dict(state)
    eps = torch.nn.BatchNorm2d(1).eps
    for key in [key for key in state if _LEGACY.search(key) and key.endswith(".c.weight")]:
        mixer = key.removesuffix("conv1.c.weight")
        if not _is_whole(state, mixer):
            continue
        for name in (*_STATISTICS, "num_batches_tracked"):
            upgraded.pop(f"{mixer}conv1.bn.{name}", None)
        del upgraded[key]
        weight, bias, mean, variance = (state[f"{mixer}conv1.bn.{name}"].float() for name in _STATISTICS)
        scale = weight / torch.sqrt(variance + eps)
        upgraded[f"{mixer}conv1.weight"] = state[key].float() * scale[:, None, None, None]
        upgraded[f"{mixer}conv1.bias"] = bias - mean * scale
        upgraded[f"{mixer}bn.weight"] = torch.full_like(scale, (1 + eps) ** 0.5)
        upgraded[f"{mixer}bn.bias"] = torch.zeros_like(scale)
        upgraded[f"{mixer}bn.running_mean"] = torch.zeros_like(scale)
        upgraded[f"{mixer}bn.running_var"] = torch.ones_like(scale)
        upgraded[f"{mixer}bn.num_batches_tracked"] = torch.tensor(0)
    return upgraded


def _is_whole(state: Mapping[str, Tensor], mixer: str) -> bool:
    """Whether a legacy 1 x 1 branch has its convolution and all of its BatchNorm, in shapes that fit each other."""
    weight = state[f"{mixer}conv1.c.weight"]
    statistics = [state.get(f"{mixer}conv1.bn.{name}") for name in _STATISTICS]
    return weight.dim() == 4 and all(value is not None and value.shape == weight.shape[:1] for value in statistics)
