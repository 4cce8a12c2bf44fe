"""The key table of each architecture, for each kind of file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from encoders.image_encoders.repvit import REPVIT_SIZES
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES
from encoders.image_encoders.tiny_vit import WIDTHS
from encoders.weights.keymaps.identify import FileKind
from encoders.weights.keymaps.repvit import repvit_prefixes
from encoders.weights.keymaps.sam_vit import HF_SAME, hq_head, huggingface_hq_head, huggingface_key, timm_key
from encoders.weights.keymaps.tiny_vit import TINY_VIT_UNUSED, tiny_vit_official


@dataclass(frozen=True)
class KeyTable:
    """An original project's names for a whole SAM, or for its image encoder.

    Attributes:
        source: the file that has these names, for messages.
        official: our key -> the original's key, one to one.
        unused: the original's keys of weights that have no place in our model, with their shapes; dropped when read, and
            filled in when written where the original's own model needs them.
        same: second names of tensors in the file -> their first names; a file may hold either or both.
    """

    source: str
    official: Callable[[str], str]
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)


def key_table(arch: str, *, kind: FileKind = "official") -> KeyTable:
    """The table of a registry name for a kind of file; the official one where no such file of the architecture is known.

    Prompt encoder and mask decoder have segment-anything's names everywhere but at HuggingFace.
    """
    if arch in SAM_VIT_SIZES:
        width = SAM_VIT_SIZES[arch].width
        if kind == "timm":
            return KeyTable(source="timm's samvit", official=timm_key)
        if kind == "huggingface":
            return KeyTable(source="HuggingFace's SamModel", official=huggingface_key, same=HF_SAME)
        if kind == "huggingface_hq":
            head = huggingface_hq_head(width)
            return KeyTable(source="HuggingFace's SamHQModel", official=huggingface_key, unused=head, same=HF_SAME)
        if kind == "sam_hq":
            return KeyTable(source="SAM-HQ (sam_hq_vit_*.pth)", official=str, unused=hq_head(width))
    if arch == "tiny_vit":
        if kind == "sam_hq":
            unused = TINY_VIT_UNUSED | hq_head(WIDTHS[2])
            return KeyTable(source="SAM-HQ (sam_hq_vit_tiny.pth)", official=tiny_vit_official, unused=unused)
        return KeyTable(source="MobileSAM (mobile_sam.pt)", official=tiny_vit_official, unused=TINY_VIT_UNUSED)
    if arch in REPVIT_SIZES:
        prefixes = {f"image_encoder.{ours}": f"image_encoder.{theirs}" for ours, theirs in repvit_prefixes(arch)}
        return KeyTable(source="RepViT-SAM (repvit_sam.pt)", official=lambda key: rename(key, prefixes))
    return KeyTable(source=f"{arch} weights", official=str)


def decoder_key(key: str, *, kind: FileKind) -> str:
    """Our key of a prompt encoder or mask decoder -> that of a kind of file."""
    return huggingface_key(key) if kind in ("huggingface", "huggingface_hq") else key


def rename(key: str, prefixes: Mapping[str, str]) -> str:
    """Exchange the longest prefix of whole name parts that `prefixes` has; a key with none stays as it is."""
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in prefixes:
            return ".".join([prefixes[head], *parts[length:]])
    return key
