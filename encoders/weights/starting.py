"""Weights that a student's encoder can start from, from any file, under our names; and copying of the layers that fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from encoders.errors import InputError
from encoders.image_encoders.repvit import REPVIT_SIZES, RepVitEncoder
from encoders.image_encoders.tiny_vit import DEPTHS, WIDTHS, TinyVitEncoder
from encoders.sam import Sam
from encoders.weights.checkpoint import load, resolve
from encoders.weights.keymaps import check_state, identify
from encoders.weights.keymaps.repvit import repvit_prefixes, upgrade_legacy
from encoders.weights.keymaps.table import rename
from encoders.weights.keymaps.tiny_vit import tiny_vit_official
from encoders.weights.weights_file import read_weights

Tensors = dict[str, Tensor]
HEADS = ("classifier.", "head.", "head_dist.", "norm_head.")  # of ImageNet networks
NECK = "neck."
PREFIX = "image_encoder."
COMPUTED = "attention_bias_idxs"  # TinyViT's table of positions, which older files hold
COUNTER = "num_batches_tracked"
PARTS = ("c", "conv", "bn")  # a convolution and the BatchNorm behind it, which are copied together


@dataclass(frozen=True)
class StartingWeights:
    """Weights of an image encoder.

    Attributes:
        tensors: under our names, without classification heads.
        what: what the file holds, for messages.
        arch: registry name; None for a size that is not in the registry.
        has_neck: False for an ImageNet network.
    """

    tensors: Tensors
    what: str
    arch: str | None
    has_neck: bool


@dataclass(frozen=True)
class Copied:
    """What `copy_fitting` has copied.

    Attributes:
        tensors, total: number of the encoder's tensors that were copied, and of all.
        share: the part of the backbone's numbers that was copied. The neck, which fits nearly always, is left out.
        left: names of its layers that were not.
    """

    tensors: int
    total: int
    share: float
    left: list[str]


def starting_weights(path_or_name: Path | str) -> StartingWeights:
    """Read the encoder of a run folder, of a file that `encoders.load` reads, or of an ImageNet network.

    ImageNet networks are RepViT's and TinyViT's, under the names of their projects or of timm.

    Raises:
        InputError: there is nothing, or nothing known, or it is damaged or fused.
    """
    file = read_weights(resolve(path_or_name))
    for key, read in _IMAGENET.items():
        if not file.is_ours and key in file.tensors:
            headless = {name: value for name, value in file.tensors.items() if not name.startswith(HEADS)}
            return read({name: value for name, value in headless.items() if not name.endswith(COMPUTED)}, file.name)
    sam = load(path_or_name)
    if sam.fused:
        raise InputError(f"{file.name} is fused, which cannot be undone; give the run folder that it was made from")
    return StartingWeights(sam.image_encoder.state_dict(), f"a SAM with {sam.arch}", sam.arch, has_neck=True)


def init_from_imagenet(model: Sam | nn.Module, path: Path | str) -> None:
    """Start a RepViT or TinyViT encoder from its ImageNet network, in place; the neck keeps its initialisation.

    Reads the originals' `.pth` (RepViT's in its current or legacy RepVGGDW form) and timm's files. The classification heads
    are dropped.

    Args:
        model: a Sam, or its encoder.
        path: the checkpoint.

    Raises:
        InputError: the encoder is another one, or the file does not hold a network of this size.
    """
    encoder = model.image_encoder if isinstance(model, Sam) else model
    if not isinstance(encoder, RepVitEncoder | TinyVitEncoder):
        raise InputError(f"only RepViT and TinyViT start from an ImageNet network, this is a {type(encoder).__name__}")
    arch = encoder.name if isinstance(encoder, RepVitEncoder) else "tiny_vit"
    fill_from_imagenet(encoder, starting_weights(path), arch=arch, name=str(path))


def fill_from_imagenet(encoder: nn.Module, weights: StartingWeights, *, arch: str, name: str) -> Copied:
    """Copy an ImageNet network of an encoder's architecture into all of it but the neck.

    Args:
        arch: registry name of the encoder.
        name: of the file, for messages.

    Raises:
        InputError: the weights are of something else, or a tensor is missing, unexpected or of another shape or kind.
    """
    if weights.has_neck or weights.arch != arch:
        raise InputError(f"{name} holds {weights.what}; expected an ImageNet network of {arch}")
    expected = {key: value.shape for key, value in encoder.state_dict().items() if not key.startswith(NECK)}
    found = {key: value.shape for key, value in weights.tensors.items()}
    check_state(found, expected, name=name, wanted=weights.what)
    copied = copy_fitting(encoder, weights.tensors)
    if copied.share < 1:
        raise InputError(f"{name} holds {weights.what}, but some of its tensors are not of floating-point numbers")
    return copied


def copy_fitting(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> Copied:
    """Copy the layers whose names and shapes fit, in place; a convolution and its BatchNorm fit together or not at all."""
    state = encoder.state_dict()
    layers: dict[str, list[str]] = {}
    for key in state:
        layers.setdefault(layer_of(key), []).append(key)
    fitting, left = [], []
    for layer, keys in layers.items():
        needed = [key for key in keys if not key.endswith(COUNTER)]
        if all(key in tensors and _alike(tensors[key], state[key]) for key in needed):
            fitting += [key for key in keys if key in tensors]
        else:
            left.append(layer)
    encoder.load_state_dict({key: tensors[key] for key in fitting}, strict=False)
    copied, all_ = (sum(state[key].numel() for key in keys if not key.startswith(NECK)) for keys in (fitting, state))
    return Copied(tensors=len(fitting), total=len(state), share=copied / max(1, all_), left=left)


def layer_of(key: str) -> str:
    """Return the layer that a tensor belongs to."""
    layer = key.rpartition(".")[0]
    head, _, last = layer.rpartition(".")
    return head if head and last in PARTS else layer


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _width(tensors: Tensors, key: str) -> int:
    """Return the number of output channels of a convolution; 0 if it is not there or has no shape."""
    return next(iter(tensors[key].shape), 0) if key in tensors else 0


def _repvit(tensors: Tensors, name: str) -> StartingWeights:
    looks = identify({key: tensor.shape for key, tensor in tensors.items()})
    if looks is None or looks.arch is None:
        raise InputError(f"{name} looks like {looks.text if looks else 'no model known here'}, which no student starts from")
    ours = {theirs: prefix for prefix, theirs in repvit_prefixes(looks.arch)}
    renamed = {rename(key, ours): tensor for key, tensor in upgrade_legacy(tensors).items()}
    return StartingWeights(renamed, f"RepViT's ImageNet network {looks.arch}", looks.arch, has_neck=False)


def _repvit_of_timm(tensors: Tensors, name: str) -> StartingWeights:
    blocks = {tuple(key.split(".")[1:4:2]) for key in tensors if key.startswith("stages.") and ".blocks." in key}
    depths = tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(4))
    width = _width(tensors, "stem.conv2.c.weight")
    sizes = REPVIT_SIZES.items()
    arch = next((name for name, size in sizes if (size.widths[0], size.depths) == (width, depths)), None)
    what = f"timm's ImageNet network {arch or 'RepViT of a size that is not in the registry'}"
    return StartingWeights(upgrade_legacy(tensors), what, arch, has_neck=False)


def _tiny_vit_of_timm(tensors: Tensors, name: str) -> StartingWeights:
    widths = tuple(
        _width(tensors, key)
        for key in ("patch_embed.conv2.conv.weight", *(f"stages.{stage}.downsample.conv3.conv.weight" for stage in (1, 2, 3)))
    )
    arch = "tiny_vit" if widths == WIDTHS else None
    what = "TinyViT's ImageNet network" + ("" if arch else f" of widths {widths}, not of TinyViT-5M's {WIDTHS}")
    return StartingWeights(tensors, what, arch, has_neck=False)


def _tiny_vit(tensors: Tensors, name: str) -> StartingWeights:
    # All sizes have these depths, so the names of one are those of all.
    assert DEPTHS == (2, 2, 6, 2)
    ours = {
        tiny_vit_official(PREFIX + key).removeprefix(PREFIX): key
        for key in TinyVitEncoder(image_size=64).state_dict()
        if not key.startswith(NECK)
    }
    return _tiny_vit_of_timm({ours.get(key, key): tensor for key, tensor in tensors.items()}, name)


_IMAGENET: dict[str, Callable[[Tensors, str], StartingWeights]] = {
    "features.0.2.c.weight": _repvit,
    "stem.conv2.c.weight": _repvit_of_timm,
    "patch_embed.conv1.conv.weight": _tiny_vit_of_timm,
    "patch_embed.seq.0.c.weight": _tiny_vit,
}
