"""The interface of export formats and of the runtimes that execute their files."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from encoders.errors import InputError
from encoders.sam import Sam

How = Literal["executed", "interpreted"]
CALLER_NORMALISES = "the caller normalises, then pads right and below with zeros"  # `Format.padding` of the embedding contract
POINTS = (2, 3)  # `Format.points` of decoders that take any number


class Runtime(Protocol):
    """An exported model, ready to run. Takes and returns numpy arrays, one image at a time.

    Attributes:
        name: runtime and version, e.g. "ONNX Runtime 1.32.0".
        how: "executed" by the runtime itself, or "interpreted" from the saved program by other means.
        precision: the precision it actually computes in, e.g. "fp32".
    """

    name: str
    how: How
    precision: str

    def encode(self, image: np.ndarray, /) -> np.ndarray:
        """(1, 3, S, S) float32, SAM-normalised, zero-padded -> (1, 256, S/16, S/16) float32."""
        ...

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """Prompts as `encoders.export.modules.prompt_decoder.PromptDecoder` takes them.

        Args:
            embedding: (1, 256, S/16, S/16) float32.
            coords: (P, N, 2) float32 xy in the input frame; labels: (P, N) int64, -1 to 3.
            masks: (P, 1, S/4, S/4) float32 logits of an earlier round.

        Returns:
            logits (P, 4, S/4, S/4) float32 and predicted IoU (P, 4) float32.

        Raises:
            InputError: masks are given, but the exported decoder takes none.
        """
        ...


class Format(Protocol):
    """Writes a model for one runtime and opens the files it wrote.

    Attributes:
        name: as in `--format`, or in `--for`.
        format: the format of the files; for a tool's target, the format that it is based on.
        extra: extra of this package that installs its dependencies.
        precisions: precisions that it can write, the default first.
        padding: how the encoder's input is padded, for the certificate.
        points: numbers of points of the certificate's prompts, each 2 or more, the smallest first. A box counts two, the
            padding that ends a prompt without one counts one. The decoder takes all these numbers.
        takes_masks: whether the decoder takes masks of an earlier round.
        elsewhere: runtimes that the files are for but that cannot run on this machine, for the certificate.
    """

    name: str
    format: str
    extra: str
    precisions: tuple[str, ...]
    padding: str
    points: tuple[int, ...]
    takes_masks: bool
    elsewhere: tuple[str, ...]

    def write(self, sam: Sam, folder: Path, *, precision: str) -> None:
        """Write encoder and decoder of a fused float32 model in eval mode into an empty folder.

        Raises:
            MissingExtra: a package is not installed.
            InputError: the model has an operation that the format does not support; the message names it.
        """
        ...

    def open(self, folder: Path, *, image_size: int, precision: str, threads: int | None = None) -> Runtime:
        """Open the runtime of a folder that `write` filled.

        Raises:
            MissingExtra: a package is not installed.
            InputError: a file is missing or damaged.
        """
        ...


def no_mask_input(masks: np.ndarray | None) -> None:
    """Raise InputError on mask prompts, for decoders that do not support them.

    Raises:
        InputError: there are mask prompts.
    """
    if masks is not None:
        raise InputError("this exported decoder takes no masks of an earlier round; give points and boxes only")
