"""Read one sample of a shard by its offset."""

import json
import os
import tarfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape, embedding_shape
from encoders.image import decode_image
from shards.codec import Coded, decode_embedding, parse_record
from shards.manifest import Manifest, ShardEntry

MEMBERS = ("emb", "jpg", "json")
INDEXES_KEPT = 256  # shard indexes in memory: 48 bytes a sample


@dataclass(frozen=True, kw_only=True)
class StoredSample:
    """The bytes of one sample.

    Attributes:
        shard, key: where it lies.
        record: `KEY.emb`; jpeg: `KEY.jpg`; facts: `KEY.json`.
    """

    shard: str
    key: str
    record: bytes
    jpeg: bytes
    facts: bytes

    @property
    def where(self) -> str:
        return f"{self.shard}: sample {self.key}"

    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB, as the teacher saw it. Raises InputError naming shard and key."""
        return decode_image(self.jpeg, name=self.where)

    def coded(self, *, shape: Shape, image_size: int) -> Coded:
        """Codes and scales of the embedding, checked against the (height, width) of the pixels and the frame.

        Raises:
            InputError: names shard and key; the record is damaged or of another photo.
        """
        try:
            coded = parse_record(self.record)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from error
        if max(shape) > image_size:
            raise InputError(f"{self.where}: pixels of {shape} do not fit an image size of {image_size}")
        if coded.codes.shape[1:] != embedding_shape(shape):
            raise InputError(
                f"{self.where}: an embedding of {coded.codes.shape[1:]} positions does not belong to pixels of {shape}"
            )
        return coded

    def embedding(self, *, image_size: int) -> np.ndarray:
        """(256, S/16, S/16) float32, 0 on padding. Raises InputError naming shard and key."""
        try:
            return decode_embedding(self.record, image_size=image_size)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from error

    def json(self) -> dict[str, Any]:
        """The facts beside the pixels: original size, meta, annotations; see `shards.stored.store_photo`."""
        try:
            facts = json.loads(self.facts)
        except ValueError as error:
            raise InputError(f"{self.where}: its json cannot be read ({error})") from error
        if not isinstance(facts, dict):
            raise InputError(f"{self.where}: its json is no object")
        return facts


class ShardReader:
    """Samples of a cache by shard number and place. Safe to hand to a worker process.

    Args:
        manifest: of the cache.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.folder = manifest.folder
        self.entries = manifest.entries
        self._indexes: OrderedDict[int, np.ndarray] = OrderedDict()

    def read(self, shard: int, place: int) -> StoredSample:
        """Read sample `place` of shard number `shard` (both from 0, in manifest order), in one read.

        Raises:
            InputError: names the shard and key; the shard is missing or is not the one of the manifest.
        """
        entry = self.entries[shard]
        spans = self._index(shard)[place]
        start, end = int(spans[:, 0].min()), int(spans.sum(axis=1).max())
        with _open(self.folder / entry.name) as file:
            data = os.pread(file.fileno(), end - start, start)
        if len(data) != end - start:
            raise InputError(f"{entry.name}: sample {entry.keys[place]}: the shard is cut off")
        parts = [data[offset - start : offset - start + size] for offset, size in spans.tolist()]
        return StoredSample(shard=entry.name, key=entry.keys[place], record=parts[0], jpeg=parts[1], facts=parts[2])

    def _index(self, shard: int) -> np.ndarray:
        """(samples, 3, 2) int64: offset and size in bytes of emb, jpg and json; made once, then kept for a while."""
        if shard not in self._indexes:
            self._indexes[shard] = index_shard(self.folder / self.entries[shard].name, self.entries[shard])
            if len(self._indexes) > INDEXES_KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(shard)
        return self._indexes[shard]


def index_shard(path: Path, entry: ShardEntry) -> np.ndarray:
    """Read the headers of a shard.

    Returns:
        (samples, 3, 2) int64: offset and size in bytes of each sample's emb, jpg and json, in order of `entry.keys`.

    Raises:
        InputError: the shard is missing, has another size or other members than the manifest says.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry.bytes:
            raise InputError(f"{path} has {size} bytes, the manifest says {entry.bytes}; run precompute again")
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                spans = {member.name: (member.offset_data, member.size) for member in tar}
        except tarfile.TarError as error:
            raise InputError(f"{path} is damaged ({error}); remove it and run precompute again") from error
    names = [f"{key}.{member}" for key in entry.keys for member in MEMBERS]
    missing = [name for name in names if name not in spans]
    if missing or len(spans) != len(names):
        what = f"lacks {missing[0]}" if missing else f"holds {len(spans)} members instead of {len(names)}"
        raise InputError(f"{path} {what}; remove it and run precompute again")
    return np.asarray([spans[name] for name in names], np.int64).reshape(-1, len(MEMBERS), 2)


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run precompute again") from error
