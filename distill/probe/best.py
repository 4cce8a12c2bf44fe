"""The weights of the best probes of a run, kept beside its checkpoints so that a resume finds what it would have had."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from encoders.errors import InputError, InputWarning
from encoders.files import check_output_folder, write_errors
from encoders.weights.safetensors_files import read_safetensors, write_safetensors

NAME, SUFFIX = "best_step_", ".safetensors"
STEP, IOU = "step", "probe/iou"


class BestWeights:
    """Files `best_step_N.safetensors`, each the averaged weights at a probe that was better than all before it.

    One is not enough: the run may be killed after a new best and go on from a checkpoint before it. So for each checkpoint
    the best up to its step is kept.

    Args:
        folder: of the checkpoints.
        start_step: step from which the run goes on; later files are removed.
    """

    def __init__(self, folder: Path, *, start_step: int) -> None:
        self._folder = folder
        self._found: dict[int, float] = {}  # step -> IoU
        for left in folder.glob(f"{NAME}*.tmp"):  # of a killed process
            left.unlink(missing_ok=True)
        for path in sorted(folder.glob(f"{NAME}*{SUFFIX}")):
            try:
                with safe_open(path, framework="pt") as file:
                    facts = file.metadata() or {}
                step, iou = int(facts[STEP]), float(facts[IOU])
            except Exception as error:  # whatever damage looks like
                warnings.warn(InputWarning(f"{path} is damaged ({error}); it is left out"), stacklevel=2)
                continue
            if step > start_step:
                path.unlink()
            else:
                self._found[step] = iou

    @property
    def step(self) -> int | None:
        """Step of the best probe; None if there was none."""
        return self._best(self._found)

    @property
    def iou(self) -> float | None:
        """Mean mask IoU of the best probe."""
        return None if self.step is None else self._found[self.step]

    def offer(self, state: Mapping[str, Tensor], *, step: int, iou: float) -> bool:
        """Keep the weights if they are better than all before; return whether they are.

        Raises:
            InputError: they cannot be written.
        """
        if self.iou is not None and iou <= self.iou:
            return False
        check_output_folder(self._folder)
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        write_safetensors(self._path(step), tensors, metadata={STEP: str(step), IOU: repr(iou)})
        self._found[step] = iou
        return True

    def prune(self, checkpoints: Sequence[int]) -> None:
        """Remove the files that a run needs neither now nor after going on from one of these steps."""
        needed = {self.step} | {self._best({s: iou for s, iou in self._found.items() if s <= end}) for end in checkpoints}
        for step in set(self._found) - needed:
            with write_errors(self._path(step)):
                self._path(step).unlink(missing_ok=True)
            del self._found[step]

    def weights(self) -> dict[str, Tensor] | None:
        """Return the best weights; None, with a warning, if their file was lost or damaged."""
        if self.step is None:
            return None
        try:
            return read_safetensors(self._path(self.step))[0]
        except InputError as error:
            warnings.warn(InputWarning(f"{error}; the last weights are exported instead of the best"), stacklevel=2)
            return None

    def _path(self, step: int) -> Path:
        return self._folder / f"{NAME}{step}{SUFFIX}"

    @staticmethod
    def _best(found: Mapping[int, float]) -> int | None:
        """Return the first step with the highest IoU."""
        return min(found, key=lambda step: (-found[step], step), default=None)
