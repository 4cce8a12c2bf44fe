"""The probe of a run, as the training loop sees it."""

import time
from typing import Any, cast

import torch

from distill.checkpoints.checkpoint import list_checkpoints
from distill.config.probe import ProbeConfig
from distill.config.runs import EmbeddingRun, PromptRun, Run
from distill.ema import Ema
from distill.launching.world import World
from distill.monitoring.monitor import METRICS, Monitor
from distill.probe.alarm import PREFIX, WARNING, History, Probe, warning_of
from distill.probe.best import BestWeights
from distill.probe.measure import Measure
from distill.probe.photos import choose, is_local, read_batches
from distill.probe.pictures import picture
from distill.ranks import on_first_rank
from distill.run_folder import CHECKPOINTS
from distill.task import Task
from encoders.messages.words import counted
from encoders.sam import Sam
from shards import Manifest
from shards.cache.storage import open_store
from shards.loading.held_out import HeldOut

MOST_TIME = 0.03  # of a run; beyond it a note says how to spend less
PLURALS = {"point": "points", "box": "boxes"}


class ProbeWatch:
    """Measures the averaged student every few steps, keeps the best weights, and says when the run should end.

    Every rank calls its methods; the first one measures, while the others wait for its answer. It reads the run's weights and
    draws no random number of the run's, so training is the same as without it. Without `probe` in the config it does nothing.

    Args:
        ema: the averaged weights.
        start: step from which the run goes on.
        steps: at which it ends.
    """

    def __init__(self, config: Run, task: Task, *, ema: Ema, monitor: Monitor, world: World, start: int, steps: int) -> None:
        self._run, self._task, self._ema, self._monitor, self._world = config, task, ema, monitor, world
        self._start, self._steps = start, steps
        self._seconds, self._count = 0.0, 0
        self._mark: tuple[float, int] | None = None  # clock and step from which the time between two probes is taken
        self._measure: Measure | None = None

    @property
    def _config(self) -> ProbeConfig:
        assert self._run.probe is not None
        return self._run.probe

    def begin(self) -> bool:
        """Prepare the probe and measure the student before its first step; return whether the run had ended early."""
        self._began = time.perf_counter()
        return self._run.probe is not None and on_first_rank(self._begin)

    def look(self, step: int, *, last: bool) -> bool:
        """Measure the student after a step if it is time; return whether the run should end."""
        if self._run.probe is None or not (last or step % self._config.every_steps == 0):
            return False
        return on_first_rank(lambda: self._look(step, last=last))

    def export(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return the weights to export, and facts for run.json. Only for the first rank."""
        if self._run.probe is None:
            return self._ema.shadow, {}
        best = self._best.weights() if self._run.exports_best else None
        step, iou = (None, None) if best is None else (self._best.step, self._best.iou)
        exported = {"weights": "last" if best is None else "best", "step": step, "mask_iou": iou}
        facts: dict[str, Any] = {"exported": exported, "probe_warnings": self._warnings()}
        if self._measure is not None:
            share = self._seconds / max(time.perf_counter() - self._began, 1e-9)
            facts["probe"] = {
                "photos": self._measure.photos,
                "prompts": self._measure.prompts,
                "share_of_time": round(share, 4),
            }
            self._monitor.say(f"{self._count} probes took {self._seconds:.1f} s, {100 * share:.1f} % of the run's time")
        if self._is_exhausted() and self._history.probes[-1].step < self._steps:
            facts["stopped_early"] = {"of_steps": self._steps, "patience": self._config.patience}
        self._best.prune(list_checkpoints(self._run.folder / CHECKPOINTS))
        return self._ema.shadow if best is None else best, facts

    def _begin(self) -> bool:
        self._best = BestWeights(self._run.folder / CHECKPOINTS, start_step=self._start)
        self._history = History(self._run.folder / METRICS)
        if self._start == self._steps:  # only the weights are to be exported again
            return False
        if self._is_exhausted():
            return True
        begun = self._now()
        with torch.random.fork_rng(devices=[]):
            student = self._task.sam(self._ema.shadow).to(self._world.device)
            self._measure = self._prepare(self._teacher(student))
        self._seconds += self._now() - begun
        counts = {kind: sum(sizes.values()) for kind, sizes in self._measure.prompts.items()}
        prompts = " and ".join(counted(count, kind, plural=PLURALS[kind]) for kind, count in counts.items())
        self._monitor.say(f"probe: {counted(self._measure.photos, 'photo')}, with {prompts}")
        if not self._start and not self._history.probes:
            self._look(0, last=False)
        self._mark = time.perf_counter(), self._start
        return False

    def _prepare(self, teacher: Sam) -> Measure:
        config, own = self._config, cast(Manifest, self._task.manifest)
        manifest = own if config.cache is None else Manifest.read(config.cache)
        manifest.require(teacher_sha256=own.identity.teacher_sha256, image_size=own.identity.image_size)
        data = cast(EmbeddingRun | PromptRun, self._run).data
        limit = int(data.local_cache_gib * 2**30)
        store = open_store(manifest, local_cache=data.local_cache, local_cache_bytes=limit, shards_in_use=1)
        held_out = None if config.held_out is None else HeldOut(manifest, config.held_out)
        places = choose(
            manifest, held_out=held_out, photos=config.photos, seed=config.seed, whole_shards=not is_local(store)
        )
        batches = read_batches(manifest, places, store=store, prompts=config.prompts)
        return Measure(teacher, batches, device=self._world.device)

    def _teacher(self, student: Sam) -> Sam:
        """Return a Sam with the teacher's prompt encoder and decoder: the student's own, unless these learn."""
        apart = getattr(self._task.module, "teacher", None)  # of the prompt stage
        return student if apart is None else cast(Sam, apart)

    def _look(self, step: int, *, last: bool) -> bool:
        assert self._measure is not None
        begun = self._now()
        with torch.random.fork_rng(devices=[]):
            student = self._task.sam(self._ema.shadow).to(self._world.device)
            found = self._measure(student)
        self._history.read()
        probes, loss = self._history.probes, self._history.mean_loss()
        now = Probe(step, found["iou"], found["mse"], loss)
        warning = warning_of([*probes, now], rule=self._config.alarm)
        better = self._best.offer(self._ema.shadow, step=step, iou=now.iou)
        self._best.prune(list_checkpoints(self._run.folder / CHECKPOINTS))
        values: dict[str, float | str] = {PREFIX + name: value for name, value in found.items()}
        values |= {} if loss is None else {PREFIX + "train_loss": loss}
        values |= {} if warning is None else {WARNING: warning}
        self._monitor.add(step, values)
        self._monitor.say(_line(step, found) + ("; the best so far" if better else ""))
        if warning is not None and (not probes or probes[-1].warning is None):
            self._monitor.say(f"warning: {warning}")
        if self._config.pictures and (last or len(probes) % self._config.pictures_every == 0):
            self._monitor.picture(step, picture(self._measure, student=student, photos=self._config.pictures))
        self._history.read()
        self._spent(self._now() - begun, step=step)
        if last or not self._is_exhausted():
            return False
        self._monitor.say(
            f"{self._run.folder} ends at step {step} of {self._steps}: no better masks in {self._config.patience} probes since "
            f"step {self._best.step} (probe.patience)"
        )
        return True

    def _spent(self, seconds: float, *, step: int) -> None:
        """Count a probe's time; the first one after some steps tells if it is too much of the run's."""
        self._seconds += seconds
        self._count += 1
        if self._mark is None:
            return
        (clock, done), every, self._mark = self._mark, self._config.every_steps, None
        training = (time.perf_counter() - seconds - clock) / (step - done) * every
        if seconds > MOST_TIME * (seconds + training):
            enough = _rounded_up(every * seconds * (1 / MOST_TIME - 1) / training)
            self._monitor.say(
                f"note: a probe takes {seconds:.1f} s and the {every} steps between two {training:.1f} s, so it is "
                f"{100 * seconds / (seconds + training):.0f} % of the run's time; for less than {100 * MOST_TIME:.0f} % give "
                f"probe.every_steps={enough}, or fewer probe.photos or probe.prompts"
            )

    def _is_exhausted(self) -> bool:
        patience, best = self._config.patience, self._best.step
        return patience is not None and best is not None and sum(one.step > best for one in self._history.probes) >= patience

    def _warnings(self) -> list[dict[str, object]]:
        """Return the probes at which a warning began."""
        probes = self._history.probes
        before = [None, *(one.warning for one in probes)]
        return [
            {"step": one.step, "warning": one.warning}
            for one, earlier in zip(probes, before, strict=False)
            if one.warning is not None and earlier is None
        ]

    def _now(self) -> float:
        if self._world.device.type == "cuda":
            torch.cuda.synchronize(self._world.device)
        return time.perf_counter()


def _line(step: int, found: dict[str, float]) -> str:
    kinds = [kind for kind in ("box", "point") if f"{kind}_iou" in found]
    ious = ", ".join(f"{kind} {found[f'{kind}_iou']:.3f}" for kind in kinds)
    gaps = ", ".join(f"{kind} {found[f'{kind}_score_gap']:+.3f}" for kind in kinds)
    return (
        f"probe at step {step}: mask IoU with the teacher {found['iou']:.3f} ({ious}), mse {found['mse']:.4f}, cosine "
        f"{found['cosine']:.3f}, score gap {gaps}"
    )


def _rounded_up(steps: float) -> int:
    """Round up to two digits."""
    unit = 10 ** max(0, len(str(int(steps))) - 2)
    return int(-(-steps // unit) * unit)
