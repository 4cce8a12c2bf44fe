"""The model registry: names and their builders."""

import difflib
from collections.abc import Callable
from functools import partial

from torch import nn

from encoders.contract import IMAGE_SIZE
from encoders.errors import InputError
from encoders.image_encoders.repvit import REPVIT_SIZES, RepVitEncoder
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder
from encoders.image_encoders.timm_features import TimmFeaturesEncoder
from encoders.image_encoders.tiny_vit import TinyVitEncoder
from encoders.model_names import CHECKPOINT_NAMES
from encoders.sam import Sam

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(RepVitEncoder, name) for name in REPVIT_SIZES},
    "tiny_vit": TinyVitEncoder,
    **{name: partial(SamVitEncoder, name) for name in SAM_VIT_SIZES},
    "sam_demo": partial(TimmFeaturesEncoder, "tf_efficientnet_lite0"),
}


def list_models() -> list[str]:
    """List the registry names without building a model."""
    return list(BUILDERS)


def unknown_model(name: str) -> InputError:
    """Return the error for an unknown name, with close matches."""
    near = difflib.get_close_matches(name, BUILDERS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "the names are:"
    return InputError(f"unknown model {name!r}; {hint}" + ("" if near else " " + ", ".join(BUILDERS)))


def model_of(arch: str) -> str:
    """Return the registry name that `arch` stands for: itself, or that of the model which such a checkpoint fills.

    Raises:
        InputError: the name is unknown.
    """
    model = CHECKPOINT_NAMES.get(arch, arch)
    if model not in BUILDERS:
        raise unknown_model(arch)
    return model


def build_image_encoder(name: str, *, image_size: int = IMAGE_SIZE) -> nn.Module:
    """Build a randomly initialised image encoder, (B, 3, S, S) -> (B, 256, S/16, S/16), with attribute `image_size`.

    Raises:
        InputError: the name is unknown, or S is not a positive multiple of 64.
    """
    if name not in BUILDERS:
        raise unknown_model(name)
    return BUILDERS[name](image_size=image_size)


def fresh_sam(name: str, *, image_size: int = IMAGE_SIZE) -> Sam:
    """Build a randomly initialised SAM in eval mode; `encoders.build_sam` also loads weights."""
    return Sam(arch=name, image_encoder=build_image_encoder(name, image_size=image_size), image_size=image_size).eval()
