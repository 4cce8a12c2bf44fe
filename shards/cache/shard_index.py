"""Index of a shard's members, read from its tar headers alone."""

import os
import tarfile

import numpy as np

from encoders.errors import InputError
from shards.cache.manifest import ShardEntry
from shards.cache.shard_writer import EMBEDDING, FACTS, JPEG
from shards.sources.tar_index import Headers

MEMBERS = (EMBEDDING, JPEG, FACTS)
BLOCK = 512  # bytes of a tar header; members begin at multiples of it


def index_shard(descriptor: int, *, entry: ShardEntry, where: str) -> np.ndarray:
    """Read the headers of a shard.

    Args:
        descriptor: the shard, open for reading.
        entry: its manifest line.
        where: name of the shard in error messages.

    Returns:
        (samples, 3, 2) int64: offset and size in bytes of each sample's emb, jpg and json, in order of `entry.keys`.

    Raises:
        InputError: the shard's size, members or order of members differ from the manifest.
    """
    size = os.fstat(descriptor).st_size
    if size != entry.bytes:
        raise InputError(f"{where} has {size} bytes, the manifest says {entry.bytes}; run precompute again")
    names = [f"{key}.{member}" for key in entry.keys for member in MEMBERS]
    spans = np.empty((len(names), 2), np.int64)
    offset = 0
    for number, name in enumerate(names):
        try:
            found, begin, length = read_header(descriptor, offset)
            if not (offset < begin and 0 <= length <= size - begin):
                raise tarfile.ReadError(f"a member of {str(length)[:20]} bytes does not fit")
        except Exception as error:  # see read_header
            raise InputError(f"{where} is damaged at byte {offset} ({error}); remove it and run precompute again") from error
        if found != name:
            raise InputError(f"{where} holds {found} where {name} belongs; remove it and run precompute again")
        spans[number] = begin, length
        offset = begin + -(-length // BLOCK) * BLOCK
    if any(os.pread(descriptor, BLOCK, offset)):
        raise InputError(f"{where} holds more than the manifest's {len(names)} members; remove it and run precompute again")
    return spans.reshape(-1, len(MEMBERS), 2)


def read_header(descriptor: int, offset: int) -> tuple[str, int, int]:
    """Read the tar header at `offset`; return the member's name, its data offset and its size in bytes.

    tarfile takes 20 us per header and every worker reads every header; for regular files this takes a tenth of that.

    Raises:
        Exception: there is no valid header; usually tarfile.TarError, but tarfile lets other parser errors through.
    """
    header = os.pread(descriptor, BLOCK, offset)
    if header[156:157] == tarfile.REGTYPE and header[257:262] == b"ustar" and not header[345]:
        stored = header[148:156]
        total = sum(header) - sum(stored) + 8 * ord(" ")
        if stored[:6] == b"%06o" % total and header[124:135].isdigit():
            return header[:100].rstrip(b"\0").decode("utf-8", "surrogateescape"), offset + BLOCK, int(header[124:135], 8)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:  # a long name or an invalid header: leave it to tarfile
        file.seek(offset)
        member = next(Headers(file).members(), None)
    if member is None:
        raise tarfile.ReadError("the archive ends here")
    return member.name, member.offset_data, member.size
