"""Names and what they build."""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from encoders.contract import IMAGE_SIZE
from encoders.errors import InputError
from encoders.image_encoders.repvit import REPVIT_SIZES, RepVitEncoder
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder
from encoders.image_encoders.timm_features import TimmFeaturesEncoder
from encoders.image_encoders.tiny_vit import TinyVitEncoder
from encoders.sam import Sam

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(RepVitEncoder, name) for name in REPVIT_SIZES},
    "tiny_vit": TinyVitEncoder,
    **{name: partial(SamVitEncoder, name) for name in SAM_VIT_SIZES},
    "sam_demo": partial(TimmFeaturesEncoder, "tf_efficientnet_lite0"),
}
SHIPPED_WEIGHTS = {"sam_demo": Path(__file__).parent / "assets" / "sam_demo.safetensors"}
# `encoders.weights.checks.content_digest` of them
SHIPPED_DIGESTS = {"sam_demo": "2f021d7964f1691c62350af8f0b8646251893965b03e2cb2fa0310c39bc5af15"}


def list_models() -> list[str]:
    """Registry names. Nothing is built."""
    return list(BUILDERS)


def unknown_model(name: str) -> InputError:
    """The error for a name that is not in the registry, with the names that come close."""
    near = difflib.get_close_matches(name, BUILDERS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "the names are:"
    return InputError(f"unknown model {name!r}; {hint}" + ("" if near else " " + ", ".join(BUILDERS)))


def build_image_encoder(name: str, *, image_size: int = IMAGE_SIZE) -> nn.Module:
    """A freshly initialised image encoder, (B, 3, S, S) -> (B, 256, S/16, S/16), with attribute `image_size`.

    Raises:
        InputError: the name is unknown, or S is not a positive multiple of 64.
    """
    if name not in BUILDERS:
        raise unknown_model(name)
    return BUILDERS[name](image_size=image_size)


def build_sam(name: str, *, checkpoint: Path | str | None = None, image_size: int = IMAGE_SIZE) -> Sam:
    """A SAM of that architecture in eval mode; BatchNorm encoders are silently wrong in train mode.

    Args:
        name: see `list_models`.
        checkpoint: weights as `encoders.load` reads them. None leaves everything freshly initialised, also for a name
            that ships weights; `encoders.load(name)` gives those.
        image_size: S in pixels.

    Raises:
        InputError: as `build_image_encoder` and `encoders.load`.
    """
    if checkpoint is not None:
        from encoders.weights.checkpoint import load  # builds its models here

        if name not in BUILDERS:
            raise unknown_model(name)
        return load(checkpoint, arch=name, image_size=image_size)
    return Sam(arch=name, image_encoder=build_image_encoder(name, image_size=image_size), image_size=image_size).eval()
