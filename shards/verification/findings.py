"""Results of a verification: problems and their remedies."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from shards.cache.names import is_shard_name


class Remedy(str, Enum):
    """How to fix a problem."""

    REDO = "redo"  # make the shard again; without a shard, rewrite the manifest and the files derived from it
    AGAIN = "again"  # make the whole cache again in another folder
    GO_ON = "go on"  # rerun the unfinished precompute
    BY_HAND = "by hand"  # fix by hand, as the problem's text describes


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem of a cache.

    Attributes:
        where: the affected file of the cache.
        problem: description of the problem.
        remedy: how to fix it.
        key: key of the affected sample, if it concerns a single one.
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
    """The results of a verification.

    Attributes:
        cache: the folder or URL.
        shards, photos, bytes: amount of data checked.
        recomputed: number of samples whose embedding was computed again.
        worst_error: the largest relative error of a stored embedding against its recomputed one.
        codec_error: the codec's relative error on the recomputed embedding of that sample.
        source: whether the photos still match `cache.json`: "the same", or why that is unknown.
        problems: all problems, in order of file.
    """

    cache: Path | str
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
        """The sorted names of the shards to make again."""
        return sorted({p.where for p in self.problems if p.remedy is Remedy.REDO and is_shard_name(p.where)})

    @property
    def rerun(self) -> str | None:
        """The command or action that fixes the problems; None if there are none."""
        remedies = {problem.remedy for problem in self.problems}
        config = "the precompute command that made it"
        if isinstance(self.cache, Path):
            config = f"repvit-sam precompute --config {self.cache / 'config.yaml'}"
        if Remedy.AGAIN in remedies:
            return f"make the cache again in another folder: {config} --set out=FOLDER"
        if Remedy.REDO in remedies:
            what = ", ".join(self.damaged) or "no shards, only other files of the cache"
            return f"make again {what}: repvit-sam cache verify {self.cache} --repair"
        if Remedy.GO_ON in remedies:
            return "run the same precompute command again; it makes what is missing"
        return "mend by hand what is listed" if remedies else None
