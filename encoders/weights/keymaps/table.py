"""The key table of each architecture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from encoders.image_encoders.repvit import REPVIT_SIZES
from encoders.weights.keymaps.repvit import repvit_prefixes
from encoders.weights.keymaps.tiny_vit import TINY_VIT_UNUSED, tiny_vit_official


@dataclass(frozen=True)
class KeyTable:
    """An original project's names for a whole SAM; prompt encoder and mask decoder have the same names everywhere.

    Attributes:
        source: the file that has these names, for messages.
        official: our key -> the original's key, one to one.
        unused: the original's keys of weights that its model holds and never uses, with their shapes; dropped when
            read, filled in when written.
    """

    source: str
    official: Callable[[str], str]
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def key_table(arch: str) -> KeyTable:
    """The table of a registry name; ours and the original's names are the same where no other table is known."""
    if arch in REPVIT_SIZES:
        prefixes = {f"image_encoder.{ours}": f"image_encoder.{theirs}" for ours, theirs in repvit_prefixes(arch)}
        return KeyTable(source="RepViT-SAM (repvit_sam.pt)", official=lambda key: rename(key, prefixes))
    if arch == "tiny_vit":
        return KeyTable(source="MobileSAM (mobile_sam.pt)", official=tiny_vit_official, unused=TINY_VIT_UNUSED)
    return KeyTable(source=f"{arch} weights", official=str)


def rename(key: str, prefixes: Mapping[str, str]) -> str:
    """Exchange the longest prefix of whole name parts that `prefixes` has; a key with none stays as it is."""
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in prefixes:
            return ".".join([prefixes[head], *parts[length:]])
    return key
