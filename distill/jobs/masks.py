"""Automatic masks of photos, written as one JSON file per photo in SA-1B's format; interrupted calls can be resumed."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.engines.base import HERE, EngineOptions, run
from distill.jobs.mask_files import kept_record, sa1b_record, write_overlay
from distill.jobs.mask_inputs import note_of, open_maker, photos_of
from distill.launching.world import World
from encoders.errors import InputError
from encoders.files import atomic_path, check_output_folder
from encoders.messages.eta import time_left
from encoders.samples.sample import image_sha256
from eval_zeroshot.suites.everything import MaskGenerator, MaskSettings
from shards.cache.kept import kept

STAYS = "photos that are finished stay"
Say = Callable[..., None]


def write_masks(
    model: str,
    *,
    photos: Path,
    out: Path,
    settings: MaskSettings,
    budget: int | None = None,
    arch: str | None = None,
    image_size: int | None = None,
    overlays: Path | None = None,
    say: Say = lambda line, *, last: None,
    options: EngineOptions = HERE,
) -> dict[str, Any]:
    """Write OUT/KEY.json for each photo, or each of this rank's photos, that does not have one yet.

    A photo without masks does not count as done: a call with other settings tries it again.

    Args:
        model: as `eval` takes it, with or without NAME=.
        overlays: folder for a JPEG of each photo with its masks, or None.
        say: takes lines of progress and, with `last=True`, notes that must be seen.
        options: the engine.

    Returns:
        Numbers of photos `written`, `kept` and `without` a mask, of `masks` written, and the photos that `failed` with the
        reason. `without` are among those written or kept.

    Raises:
        InputError: no photo, an unusable model, or a file in OUT that was made otherwise.
    """
    for folder in (out, overlays):
        if folder is not None:
            with kept(folder, what=STAYS):
                check_output_folder(folder)
    work = MaskWork(
        model=model,
        photos=photos,
        out=out,
        settings=settings,
        budget=budget,
        arch=arch,
        image_size=image_size,
        overlays=overlays,
    )
    lead = MaskLead(say, world=options.world)
    run(work, lead, options=options)
    return lead.found


@dataclass(frozen=True, kw_only=True)
class MaskWork:
    """What each worker opens: the model, and the list of photos; see `write_masks`."""

    model: str
    photos: Path
    out: Path
    settings: MaskSettings
    budget: int | None
    arch: str | None
    image_size: int | None
    overlays: Path | None

    @property
    def label(self) -> str:
        """The folder of the files."""
        return str(self.out)

    @contextmanager
    def open(self, world: World, /) -> Iterator["MaskWorker"]:
        """Open the model on this process's device."""
        predictor, facts = open_maker(self.model, arch=self.arch, image_size=self.image_size)
        maker = {
            "arch": facts.arch,
            "weights_sha256": facts.sha256 or "",  # a model of the user's own need not say it, nor its size
            "image_size": getattr(predictor, "image_size", None) or 0,
            "budget": self.budget,
            **self.settings.json(),
        }
        items = list(photos_of(self.photos))
        yield MaskWorker(self, MaskGenerator(predictor, settings=self.settings), maker, items)


@dataclass(frozen=True)
class MaskNews:
    """What the lead is told of a photo.

    Attributes:
        name: of the photo.
        written: whether its file is new.
        masks: number of masks.
        failure: why it was left out; None if it was not.
        note: advice on the thresholds, for a photo without masks.
    """

    name: str
    written: bool = False
    masks: int = 0
    failure: str | None = None
    note: str | None = None


class MaskWorker:
    """Makes the masks of one photo after another.

    Args:
        work: the settings.
        generator: finds masks.
        maker: what the files record about the model and the settings.
        items: the photos, see `photos_of`.
    """

    def __init__(
        self, work: MaskWork, generator: MaskGenerator, maker: dict[str, Any], items: list[tuple[str, str, Any]]
    ) -> None:
        self.facts = [name for name, _, _ in items]
        self._work, self._generator, self._maker, self._items = work, generator, maker, items
        self._noted = False

    def run(self, tasks: Iterator[int], /, *, batch_done: Callable[[], None] | None = None) -> Iterator[tuple[int, MaskNews]]:
        """Write the files of photos, one after another."""
        for task in tasks:
            yield task, self._make(*self._items[task])

    def _make(self, name: str, key: str, read: Any) -> MaskNews:
        work, path = self._work, self._work.out / f"{key}.json"
        try:
            image = read()
        except InputError as error:
            return MaskNews(name, failure=str(error))
        made = {**self._maker, "image_sha256": image_sha256(image)}
        record = kept_record(path, made) if path.exists() else None
        written = record is None
        if record is None:
            record = sa1b_record(self._generator.generate(image, budget=work.budget), name=name, image=image)
            with kept(work.out, what=STAYS), atomic_path(path) as temporary:
                temporary.write_text(json.dumps({**record, "generator": made}), encoding="utf-8")
        note = None
        if not record["annotations"] and not self._noted:  # before hours go into photos that get none either
            note = note_of(self._generator.predictor, image, name=name, settings=work.settings)
            self._noted = True
        if work.overlays is not None:
            with kept(work.overlays, what=STAYS):
                write_overlay(work.overlays / f"{key}.jpg", image, record["annotations"])
        return MaskNews(name, written=written, masks=len(record["annotations"]), note=note)


class MaskLead:
    """Counts photos and masks, and says how far the work is.

    Args:
        say: see `write_masks`.
        world: this process among the ranks of a launcher.

    Attributes:
        found: what `write_masks` returns.
    """

    def __init__(self, say: Say, *, world: World) -> None:
        self.found: dict[str, Any] = {"written": 0, "kept": 0, "without": 0, "masks": 0, "failed": {}}
        self._say, self._world = say, world
        self._names: list[str] = []
        self._done, self._noted = 0, False
        self._started = time.monotonic()

    def begin(self, facts: list[str], /) -> list[int]:
        """Return all photos; those that have their file are read and counted."""
        self._names = facts
        self._started = time.monotonic()
        return list(range(len(facts)))

    def name(self, task: int, /) -> str:
        """Return what people call a photo."""
        return f"photo {self._names[task]}"

    def done(self, task: int, news: MaskNews, /) -> None:
        """Count a photo."""
        self._done += 1
        if news.failure is not None:
            self.found["failed"][news.name] = news.failure
            self._say(f"left out: {news.failure}", last=True)
            return
        self.found["written" if news.written else "kept"] += 1
        self.found["masks"] += news.masks if news.written else 0
        self.found["without"] += not news.masks
        if news.note is not None and not self._noted:
            self._say(news.note, last=True)
            self._noted = True
        total = len(range(self._world.rank, len(self._names), self._world.world_size))
        left = time_left(self._done, total, time.monotonic() - self._started)
        self._say(f"photo {self._done}/{total}, {self.found['masks']} masks{left}", last=self._done == total)

    def staffed(self, workers: int, /) -> None:
        """Nothing depends on it."""
