"""The index of a tar as a file, so that its headers are read once."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from encoders.files import atomic_path
from encoders.untrusted import read_json
from shards.sources.base import printable
from shards.sources.remote import RemoteTar, TarFacts

FORMAT = 1
MAX_INDEX_BYTES = 2**30  # limit of a file: one tar of ten million photos; SA-1B's indexes have 1 MiB


@dataclass
class TarIndex:
    """The pairs of a tar in order of offset.

    Attributes:
        names: member names without suffix; bytes that are not UTF-8 become surrogates, as in tarfile.
        spans: offset and size of the photo's data, then of the json's, in bytes, four numbers per pair; -1 if absent.
        problems: why a pair cannot be used, by pair index.
        ending: why the tar cannot be read to its end; None if it can.
        others: number of members that are neither photo nor json.
    """

    names: list[str] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    ending: str | None = None
    others: int = 0


def keep_index(index: TarIndex, tar: Path | RemoteTar, facts: os.stat_result | TarFacts, *, folder: Path) -> None:
    """Write the index of a tar of these facts into `folder`, created if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(kept_path(tar, facts, folder=folder)) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT} | asdict(index)), "ascii")


def kept_index(tar: Path | RemoteTar, facts: os.stat_result | TarFacts, *, folder: Path) -> TarIndex | None:
    """Read a kept index; None if it is missing, damaged or has another format, in which case the tar is read again."""
    path = kept_path(tar, facts, folder=folder)
    if not path.is_file():
        return None
    try:
        content = read_json(path, max_bytes=MAX_INDEX_BYTES, finite=False)
        return _Kept.model_validate(content).index(tar_bytes=facts.st_size)
    except ValueError:  # InputError and pydantic's
        return None


def kept_path(tar: Path | RemoteTar, facts: os.stat_result | TarFacts, *, folder: Path) -> Path:
    """Return where the index of a tar of this name, size and time is kept."""
    return folder / f"{printable(tar.name)}.{facts.st_size}-{facts.st_mtime_ns}.json"


class _Kept(BaseModel):
    """The cached file of an index."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: int
    names: list[str]
    spans: list[Annotated[int, Field(ge=-1, le=2**61)]]
    problems: dict[str, str]
    ending: str | None
    others: Annotated[int, Field(ge=0)]

    def index(self, *, tar_bytes: int) -> TarIndex | None:
        """Return the index, or None if it cannot belong to a tar of this size."""
        if self.format != FORMAT or len(self.spans) != 4 * len(self.names):
            return None
        problems = {int(number): problem for number, problem in self.problems.items()}
        spans = np.asarray(self.spans, np.int64).reshape(-1, 2)
        outside = (spans[:, 0] >= 0) & ((spans[:, 1] < 0) | (spans.sum(axis=1) > tar_bytes))
        named = set(problems)
        if not named <= set(range(len(self.names))) or not set((np.flatnonzero(outside) // 2).tolist()) <= named:
            return None
        return TarIndex(self.names, self.spans, problems, self.ending, self.others)
