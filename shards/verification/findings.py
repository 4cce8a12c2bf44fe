"""What a verification found, and what follows from it."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from shards.cache.names import is_shard_name


class Remedy(str, Enum):
    """What mends a problem."""

    REDO = "redo"  # make the shard again; where none is named, write the manifest and what follows from it again
    AGAIN = "again"  # make the whole cache again, elsewhere
    GO_ON = "go on"  # run the precompute again that did not come to its end
    BY_HAND = "by hand"  # see the problem's text


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a cache.

    Attributes:
        where: the file in the cache.
        problem: what is wrong with it.
        remedy: what mends it.
        key: of the sample, where it is about one.
    """

    where: str
    problem: str
    remedy: Remedy = Remedy.REDO
    key: str | None = None

    def __str__(self) -> str:
        sample = "" if self.key is None else f": sample {self.key}"
        return f"{self.where}{sample}: {self.problem}"


@dataclass(kw_only=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        cache: the folder.
        shards, photos, bytes: that were looked at.
        recomputed: samples whose embedding was computed again.
        worst_error: the largest relative error among them, of the stored embedding against the new one.
        codec_error: the relative error that storing the new one would make, in the same sample.
        source: whether the photos are still those that `cache.json` names: "the same", or why that is not known.
        problems: what is wrong, in order of file.
    """

    cache: Path
    shards: int = 0
    photos: int = 0
    bytes: int = 0
    recomputed: int = 0
    worst_error: float = 0.0
    codec_error: float = 0.0
    source: str = "not compared"
    problems: list[Problem] = field(default_factory=list)

    @property
    def damaged(self) -> list[str]:
        """Names of the shards to make again, in order."""
        return sorted({p.where for p in self.problems if p.remedy is Remedy.REDO and is_shard_name(p.where)})

    @property
    def rerun(self) -> str | None:
        """What to run; None where nothing is wrong."""
        remedies = {problem.remedy for problem in self.problems}
        config = f"repvit-sam precompute --config {self.cache / 'config.yaml'}"
        if Remedy.AGAIN in remedies:
            return f"make the cache again in another folder: {config} --set out=FOLDER"
        if Remedy.REDO in remedies:
            what = ", ".join(self.damaged) or "no shard, only the files beside them"
            return f"make again {what}: repvit-sam cache verify {self.cache} --repair"
        if Remedy.GO_ON in remedies:
            return "run the same precompute command again; it makes what is missing"
        return "mend by hand what is listed" if remedies else None
