"""The history of a run's probes, read from its metrics, and the alarm on masks that do not follow the loss."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from distill.config.probe import AlarmConfig
from encoders.untrusted import parse_json

PREFIX, WARNING = "probe/", "probe/warning"
MSE = "probe's MSE"
CAUSES = {
    True: "The embeddings come closer to the teacher's, but not in what its decoder needs: check the loss and its weights",
    False: "On photos that are not trained on the embeddings come no closer to the teacher's: either the loss asks for "
    "something else, or there are too few photos for so many steps",
}


class Probe(NamedTuple):
    """One probe: its step, mean mask IoU, embedding MSE, the mean training loss since the one before, and a warning.

    `loss` is None where none was logged meanwhile, as before the first step.
    """

    step: int
    iou: float
    mse: float
    loss: float | None
    warning: str | None = None


class History:
    """The probes of a run, as its metrics file has them; a resumed run thus knows what an undisturbed one would.

    Args:
        path: of metrics.jsonl, from which lines after the step of the resumed checkpoint were dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._losses: list[float] = []
        self.probes: list[Probe] = []
        self.read()

    def read(self) -> None:
        """Take the lines that were added since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        lines = content.splitlines(keepends=True)
        for line in lines:
            if line.endswith(b"\n"):
                self._offset += len(line)
                self._take(parse_json(line, name=str(self._path), finite=False))

    def mean_loss(self) -> float | None:
        """Return the mean of the training losses logged since the last probe."""
        return fmean(self._losses) if self._losses else None

    def _take(self, record: dict[str, Any]) -> None:
        if f"{PREFIX}iou" in record:
            values = (record.get(PREFIX + name) for name in ("iou", "mse", "train_loss", "warning"))
            self.probes.append(Probe(record["step"], *values))  # type: ignore[arg-type]
            self._losses = []
        elif isinstance(record.get("loss"), float | int):
            self._losses.append(float(record["loss"]))


def warning_of(probes: Sequence[Probe], *, rule: AlarmConfig) -> str | None:
    """Return a warning if the loss falls and the masks of the last probe do not improve, else None.

    The last probe is compared with the one `rule.probes` before it and with the first of the run. It is a warning if, since
    either of them,
    - the embedding's MSE on the probe or the mean training loss fell by more than the share `rule.fall` (for a probe before
      which no loss was logged, that of the next one counts),
    - the mean mask IoU rose by less than `rule.rise`, and
    - the mean mask IoU is below `rule.below`.
    A run with fewer than `rule.probes` + 1 probes gives none.
    """
    if len(probes) <= rule.probes:
        return None
    now = probes[-1]
    for index in (len(probes) - 1 - rule.probes, 0):
        then = probes[index]
        loss = probes[index + 1].loss if then.loss is None else then.loss
        fallen = [
            (name, f"the {name} fell from {before:.4g} to {after:.4g}")
            for name, before, after in ((MSE, then.mse, now.mse), ("training loss", loss, now.loss))
            if before is not None and after is not None and after < (1 - rule.fall) * before
        ]
        if fallen and now.iou - then.iou < rule.rise and now.iou < rule.below:
            return (
                f"since step {then.step} {' and '.join(text for _, text in fallen)}, and the masks did not improve: mean IoU "
                f"with the teacher's {then.iou:.3f} then, {now.iou:.3f} now. {CAUSES[fallen[0][0] == MSE]}"
            )
    return None
