"""An evaluation as work for an engine: each task is a photo, or a video, and keeps what was seen in the state folder."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distill.jobs.eval_inputs import part_of, plan
from distill.jobs.eval_models import open_models
from distill.launching.world import World
from eval_zeroshot import observing
from eval_zeroshot.progress import Progress


@dataclass(frozen=True, kw_only=True)
class EvalWork:
    """What each worker of an evaluation opens.

    Attributes:
        models: name -> model, see `open_models`.
        inputs: the other arguments of `plan`.
        opening: the other arguments of `open_models`.
    """

    models: Mapping[str, str]
    inputs: Mapping[str, Any]
    opening: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The results file."""
        return str(self.inputs["out"])

    @contextmanager
    def open(self, world: World, /) -> Iterator["EvalWorker"]:
        """Open data and models, and this worker's own files; one that replaces another goes on in the same files."""
        part = part_of(world) or "rank-0-of-1"
        planned = plan(**self.inputs, models=self.models, part=part)
        opened = open_models(self.models, **self.opening)
        try:
            with observing(
                opened.predictors,
                suites=planned.suites,
                samples=planned.dataset,
                part=part,
                state=planned.state,
                facts=opened.facts,
                reference=self.opening["reference"],
            ) as ask:
                yield EvalWorker(blocks=planned.dataset.blocks(), ask=ask)
        finally:
            if planned.referenced is not None:
                planned.referenced.close()


@dataclass(frozen=True, kw_only=True)
class EvalWorker:
    """Asks the models about blocks of samples."""

    blocks: list[range]
    ask: Callable[[range, Progress | None], None]

    @property
    def facts(self) -> list[int]:
        """Number of samples of each block."""
        return [len(block) for block in self.blocks]

    def run(self, tasks: Iterator[int], /, *, batch_done: Callable[[], None] | None = None) -> Iterator[tuple[int, None]]:
        """Ask about blocks, one after another; a batch is a photo."""
        for task in tasks:
            self.ask(self.blocks[task], None if batch_done is None else lambda done, total: batch_done())
            yield task, None


@dataclass
class EvalLead:
    """Counts photos.

    Args:
        progress: called with the number of photos done and of all.
    """

    progress: Callable[[int, int | None], None]
    sizes: list[int] = field(default_factory=list)
    seen: int = 0

    def begin(self, facts: list[int], /) -> list[int]:
        """Return all blocks; what was seen before is not asked again."""
        self.sizes = facts
        return list(range(len(facts)))

    def name(self, task: int, /) -> str:
        """Return what people call a block."""
        first, size = sum(self.sizes[:task]) + 1, self.sizes[task]
        return f"photo {first}" if size == 1 else f"the video of photos {first} to {first + size - 1}"

    def done(self, task: int, result: None, /) -> None:
        """Count the photos of a block."""
        self.seen += self.sizes[task]
        self.progress(self.seen, sum(self.sizes))

    def staffed(self, workers: int, /) -> None:
        """Nothing depends on it."""
