"""Read one sample of a shard by its offset."""

import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.geometry import Shape, embedding_shape
from encoders.samples.image import decode_image
from encoders.untrusted import json_kind
from shards.cache.manifest import Manifest
from shards.cache.shard_index import index_shard
from shards.cache.storage import FolderStore, ShardStore
from shards.codec.records import Coded, decode_embedding, parse_record
from shards.codec.seal import check_sealed

INDEXES_KEPT = 256  # shard indexes kept in memory, 48 bytes per sample


@dataclass(frozen=True, kw_only=True)
class StoredSample:
    """The stored bytes of one sample.

    Attributes:
        shard, key: shard name and sample key.
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

    def check(self) -> None:
        """Check photo and facts against the checksums in the record, if it has them (see `shards.codec.seal`).

        Raises:
            InputError: names shard and key; one of the three was damaged.
        """
        try:
            check_sealed(self.record, jpeg=self.jpeg, facts=self.facts)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from error

    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB, as the teacher saw it. Raises InputError naming shard and key."""
        return decode_image(self.jpeg, name=self.where)

    def coded(self, *, shape: Shape, image_size: int) -> Coded:
        """Return the embedding's codes and scales, checked against the pixels' (height, width) and the input frame.

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
        """Return the parsed `KEY.json`: original size, meta, annotations; see `shards.cache.stored_photo.store_photo`."""
        try:
            facts = json.loads(self.facts)
        except ValueError as error:
            raise InputError(f"{self.where}: its json cannot be read ({error})") from error
        if not isinstance(facts, dict):
            raise InputError(f"{self.where}: its json is {json_kind(facts)}; expected a JSON object")
        return facts


class ShardReader:
    """Reads samples by shard and index. Use one per process; a lane's shard stays open until the lane moves to the next one.

    Args:
        manifest: of the cache.
        store: where its shards are stored; by default the manifest's folder.

    Attributes:
        opens: shards opened so far; reads: samples read; bytes_read: bytes of samples read.
    """

    def __init__(self, manifest: Manifest, *, store: ShardStore | None = None) -> None:
        self.entries = manifest.entries
        self.store = store or FolderStore(Path(manifest.folder))
        self.opens = self.reads = self.bytes_read = 0
        self._indexes: OrderedDict[int, np.ndarray] = OrderedDict()
        self._descriptors: dict[int, int] = {}  # shard -> descriptor
        self._lanes: dict[int, int] = {}  # lane -> its open shard

    def read(self, shard: int, sample: int, lane: int = 0) -> StoredSample:
        """Read a sample (shard and sample from 0, in manifest order) in one read.

        Raises:
            InputError: names the shard and key; the shard is missing or is not the one of the manifest.
        """
        entry = self.entries[shard]
        descriptor = self._open(shard, lane=lane)
        spans = self._index(shard, descriptor)[sample]
        start, end = int(spans[:, 0].min()), int(spans.sum(axis=1).max())
        key = entry.keys[sample]
        try:
            data = os.pread(descriptor, end - start, start)
        except OSError as error:
            raise InputError(f"{entry.name}: sample {key}: {self.store.where(entry)} cannot be read ({error})") from error
        if len(data) != end - start:
            raise InputError(f"{entry.name}: sample {key}: the shard is cut off")
        self.reads += 1
        self.bytes_read += len(data)
        parts = [data[offset - start : offset - start + size] for offset, size in spans.tolist()]
        return StoredSample(shard=entry.name, key=key, record=parts[0], jpeg=parts[1], facts=parts[2])

    def expect(self, shard: int) -> None:
        """Announce that a shard will be read soon, so that it can be fetched in the background."""
        if shard not in self._descriptors:
            self.store.expect(self.entries[shard])

    def close(self) -> None:
        """Close all shards."""
        for lane in list(self._lanes):
            self._leave(lane)

    def _open(self, shard: int, *, lane: int) -> int:
        """Return the descriptor of a lane's shard, closing the shard that the lane used before."""
        if self._lanes.get(lane) != shard:
            if lane in self._lanes:
                self._leave(lane)
            if shard not in self._descriptors:
                self._descriptors[shard] = self.store.open(self.entries[shard])
                self.opens += 1
            self._lanes[lane] = shard
        return self._descriptors[shard]

    def _leave(self, lane: int) -> None:
        shard = self._lanes.pop(lane)
        if shard not in self._lanes.values():
            os.close(self._descriptors.pop(shard))

    def _index(self, shard: int, descriptor: int) -> np.ndarray:
        """Return the shard's (samples, 3, 2) int64 index from a bounded cache, see `index_shard`."""
        if shard not in self._indexes:
            entry = self.entries[shard]
            self._indexes[shard] = index_shard(descriptor, entry=entry, where=self.store.where(entry))
            if len(self._indexes) > INDEXES_KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(shard)
        return self._indexes[shard]
