"""Statistics of the teacher's channels over a cache, kept in `channels.json` beside its manifest."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from encoders.contract import EMBED_DIM
from encoders.errors import InputError
from encoders.untrusted import read_json
from shards.cache.fields import Count, Sha256, checked
from shards.cache.files import to_line
from shards.cache.manifest import Manifest
from shards.cache.remote import fetched, is_url

CHANNELS_FILE = "channels.json"
MAX_CHANNELS_BYTES = 2**16  # of channels.json, which has 5 KiB
DIGITS = 6  # significant digits of each number, so that machines whose sums differ in the last bits write the same file
# Smallest deviation that is divided by, as a share of the root mean square of all. Some of a teacher's channels hardly change
# (of sam_demo's, 5 % have less than a tenth), and their errors would outweigh all others'.
FLOOR = 0.1

Numbers = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=EMBED_DIM, max_length=EMBED_DIM)]


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel of the stored embeddings, over the photos' positions, without padding.

    Attributes:
        manifest_sha256: of the cache, see `Manifest.sha256`; statistics of another cache are refused.
        samples, positions: number of samples measured, and of their positions.
        mean, std: of the 256 channels.
    """

    manifest_sha256: Sha256
    samples: Count
    positions: Annotated[int, Field(strict=True, ge=1)]
    mean: Numbers
    std: Numbers

    def to_bytes(self) -> bytes:
        """Return the content of `channels.json`."""
        return to_line(asdict(self))

    @property
    def usable_std(self) -> list[float]:
        """The deviations to divide by: none is near zero, see `FLOOR`; 1 where all are zero."""
        floor = FLOOR * math.sqrt(sum(value**2 for value in self.std) / len(self.std))
        return [max(value, floor) or 1.0 for value in self.std]


def read_channels(manifest: Manifest) -> ChannelStatistics:
    """Read the statistics of a complete cache, in a folder or at a URL.

    Raises:
        InputError: there are none, as in caches of earlier releases, or they are damaged or of another cache.
    """
    if is_url(manifest.folder):
        with fetched(str(manifest.folder), names={CHANNELS_FILE: MAX_CHANNELS_BYTES}) as copy:
            return _read(copy, manifest)
    return _read(Path(manifest.folder), manifest)


def _read(folder: Path, manifest: Manifest) -> ChannelStatistics:
    todo = f"write it with: repvit-sam cache stats {manifest.folder} --channels"
    path = folder / CHANNELS_FILE
    if not path.is_file():
        raise InputError(f"the cache in {manifest.folder} has no statistics of its channels ({CHANNELS_FILE}); {todo}")
    try:
        found = checked(ChannelStatistics, read_json(path, max_bytes=MAX_CHANNELS_BYTES, name="it"))
    except InputError as error:
        raise InputError(f"{path} cannot be used ({error}); {todo}") from error
    if found.manifest_sha256 != manifest.sha256:
        raise InputError(f"{path} belongs to a manifest of sha256 {found.manifest_sha256}, not {manifest.sha256}; {todo}")
    return found
