"""Identification of a state dict's architecture and kind from a few keys and shapes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from encoders.image_encoders.repvit import REPVIT_SIZES
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES
from encoders.weights.keymaps.sam_vit import HF_HQ_TOKEN, HQ_TOKEN

Shapes = Mapping[str, Sequence[int]]
FileKind = Literal["official", "timm", "sam_hq", "huggingface", "huggingface_hq"]


@dataclass(frozen=True)
class Looks:
    """The architecture and naming scheme that a file appears to have.

    Attributes:
        text: for a message.
        arch: registry name, None where the registry has no such model.
        loadable: whether `encoders.load` reads such a file; an ImageNet checkpoint only initialises an encoder.
        kind: whose names the file has; "official" are the names of the project that made the architecture a SAM.
    """

    text: str
    arch: str | None = None
    loadable: bool = False
    kind: FileKind = "official"


def identify(shapes: Shapes) -> Looks | None:
    """Guess the architecture from names and shapes; None if nothing matches."""
    for key, judge in _SIGNATURES.items():
        if key in shapes and len(shapes[key]) > 0:
            return judge(shapes, key)
    return None


def _repvit_sam(shapes: Shapes, stem: str) -> Looks:
    if any("fuse_stage" in key for key in shapes):
        return Looks("an EdgeSAM checkpoint, which is not supported")
    arch = _repvit_size(shapes, stem, "image_encoder.features.")
    if arch is None:
        return Looks("a RepViT-SAM of a size that is not in the registry")
    return Looks(f"RepViT-SAM with {arch}", arch=arch, loadable=True)


def _repvit_imagenet(shapes: Shapes, stem: str) -> Looks:
    arch = _repvit_size(shapes, stem, "features.")
    name = arch or "RepViT of a size that is not in the registry"
    return Looks(f"an ImageNet checkpoint of {name}: it initialises an encoder, it is no SAM", arch=arch)


def _repvit_size(shapes: Shapes, stem: str, prefix: str) -> str | None:
    """Registry name by the stem's width and the number of rows."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,4})\.")
    rows = max(int(found[1]) for found in map(pattern.match, shapes) if found)
    for name, size in REPVIT_SIZES.items():
        if (size.widths[0], size.rows) == (shapes[stem][0], rows):
            return name
    return None


def _tiny_vit(shapes: Shapes, key: str) -> Looks:
    if HQ_TOKEN in shapes:
        return Looks("SAM-HQ's vit_tiny (tiny_vit)", "tiny_vit", loadable=True, kind="sam_hq")
    return Looks("MobileSAM (tiny_vit)", "tiny_vit", loadable=True)


def _sam_vit(shapes: Shapes, pos_embed: str) -> Looks:
    if HQ_TOKEN in shapes:
        return _vit_size(shapes[pos_embed], whose="SAM-HQ's", kind="sam_hq")
    return _vit_size(shapes[pos_embed], whose="segment-anything's", kind="official")


def _huggingface(shapes: Shapes, pos_embed: str) -> Looks:
    if HF_HQ_TOKEN in shapes:
        return _vit_size(shapes[pos_embed], whose="HuggingFace's SamHQModel,", kind="huggingface_hq")
    return _vit_size(shapes[pos_embed], whose="HuggingFace's SamModel,", kind="huggingface")


def _timm_samvit(shapes: Shapes, relative: str) -> Looks:
    if "pos_embed" not in shapes or "neck.0.weight" not in shapes:
        return Looks("timm's ViT with SAM's blocks, without position embedding or neck: it is no encoder of SAM")
    return _vit_size(shapes["pos_embed"], whose="timm's samvit, the image encoder of", kind="timm")


def _vit_size(pos_embed: Sequence[int], *, whose: str, kind: FileKind) -> Looks:
    for name, size in SAM_VIT_SIZES.items():
        if len(pos_embed) == 4 and size.width == pos_embed[-1]:
            at = "" if pos_embed[1] == 64 else f" at image size {pos_embed[1] * 16}"
            return Looks(f"{whose} {name}{at}", arch=name, loadable=True, kind=kind)
    return Looks("a SAM with a ViT encoder that is not in the registry")


_SIGNATURES: dict[str, Callable[[Shapes, str], Looks]] = {
    "image_encoder.features.0.2.c.weight": _repvit_sam,
    "features.0.2.c.weight": _repvit_imagenet,
    "image_encoder.patch_embed.seq.0.c.weight": _tiny_vit,
    "image_encoder.pos_embed": _sam_vit,
    "vision_encoder.pos_embed": _huggingface,
    "blocks.0.attn.rel_pos_h": _timm_samvit,
    "image_encoder.trunk.pos_embed": lambda *_: Looks("SAM 2, which is not supported"),
    "image_encoder.stem.conv2.c.weight": lambda *_: Looks("our own RepViT weights without their metadata"),
    "image_encoder.patch_embed.conv1.conv.weight": lambda *_: Looks("our own tiny_vit weights without their metadata"),
    "stem.conv2.c.weight": lambda *_: Looks("timm's RepViT: it initialises an encoder, it is no SAM"),
    "mask_decoder.iou_token.weight": lambda *_: Looks("a SAM whose image encoder is not known here"),
}
