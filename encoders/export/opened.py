"""An exported model with the interface of `Sam`, so that predictor, suites and certificate can use it like PyTorch's."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoders.decoder.masks import logits_to_masks
from encoders.errors import InputError
from encoders.export.certification.certificate import read_certificate
from encoders.export.formats import find_format
from encoders.export.formats.base import Format, Runtime
from encoders.export.modules.frame import crop
from encoders.export.modules.prompt_decoder import BOTTOM_RIGHT, PADDING, TOP_LEFT
from encoders.export.targets import find_target
from encoders.geometry import Shape


class ExportedSam:
    """The model interface of `encoders.Predictor`, implemented by an export runtime on the CPU.

    Args:
        runtime: encoder and decoder.
        arch: registry name of the image encoder.
        image_size: S in pixels.
        frame: (height, width) of what its encoder takes, where that is not the padded square.
    """

    training = False

    def __init__(self, runtime: Runtime, *, arch: str, image_size: int, frame: Shape | None = None) -> None:
        self.runtime = runtime
        self.arch = arch
        self.image_size = image_size
        self.frame = frame
        self.device = torch.device("cpu")

    def image_encoder(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) float32 by the embedding contract -> (B, 256, S/16, S/16); an image at a time.

        Raises:
            InputError: a photo does not fit the frame.
        """
        if self.frame is not None:
            image = crop(image, frame=self.frame).contiguous()
        return torch.cat([torch.from_numpy(self.runtime.encode(one.numpy())) for one in image.cpu().split(1)])

    def decode_all(
        self,
        embeddings: Tensor,
        *,
        image_index: Tensor,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `Sam.decode_all`."""
        count = len(image_index)
        if points is None and boxes is None:
            raise InputError("an exported decoder takes masks of an earlier round beside points or boxes, not alone; give some")
        coords, kinds = point_prompts(points=points, labels=labels, boxes=boxes, count=count)
        logits: list[Tensor] = [torch.empty(0)] * count
        scores: list[Tensor] = [torch.empty(0)] * count
        for image in image_index.unique().tolist():
            own = torch.nonzero(image_index == image)[:, 0].tolist()
            given = None if masks is None else masks[own].numpy()
            found = self.runtime.decode(embeddings[image : image + 1].numpy(), coords[own], kinds[own], given)
            for place, one_logits, one_scores in zip(own, *found, strict=True):
                logits[place], scores[place] = torch.from_numpy(one_logits), torch.from_numpy(one_scores)
        return torch.stack(logits), torch.stack(scores)

    def decode(
        self, embeddings: Tensor, *, image_index: Tensor, multimask: bool = True, **prompts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `Sam.decode`."""
        logits, scores = self.decode_all(embeddings, image_index=image_index, **prompts)
        tokens = slice(1, None) if multimask else slice(0, 1)
        return logits[:, tokens], scores[:, tokens]

    def to_masks(self, logits: Tensor, *, shape: Shape) -> Tensor:
        """As `Sam.to_masks`."""
        return logits_to_masks(logits, shape=shape, image_size=self.image_size)


def point_prompts(
    *, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Prompts as the exported decoder takes them: boxes as two labelled points, without a box a padding point at the end.

    Args:
        points: (P, N, 2) xy, labels: (P, N), boxes: (P, 4) xyxy, in the input frame; count: P.

    Returns:
        coords (P, N', 2) float32 and labels (P, N') int64.
    """
    coords, kinds = np.zeros((count, 0, 2), np.float32), np.zeros((count, 0), np.int64)
    if points is not None and labels is not None:
        coords, kinds = points.numpy().astype(np.float32), labels.numpy().astype(np.int64)
    if boxes is not None:
        corners = boxes.numpy().astype(np.float32).reshape(count, 2, 2)
        added = np.tile(np.asarray([TOP_LEFT, BOTTOM_RIGHT]), (count, 1))
    else:
        corners, added = np.zeros((count, 1, 2), np.float32), np.full((count, 1), PADDING)
    return np.concatenate([coords, corners], axis=1), np.concatenate([kinds, added], axis=1)


def find_maker(*, format: str | None, target: str | None) -> Format:
    """The format of that name, or the target of that tool.

    Raises:
        InputError: there is none of that name, or not just one of the two is given.
    """
    if (format is None) == (target is None):
        raise InputError("give either a format or a tool")
    return find_format(format) if format is not None else find_target(str(target))


def open_export(folder: Path | str, *, threads: int | None = None) -> ExportedSam:
    """The model of an exported folder, for `encoders.Predictor`.

    Raises:
        InputError: the folder is no finished export, or a file is damaged.
        MissingExtra: its runtime is not installed.
    """
    folder = Path(folder)
    certificate = read_certificate(folder)
    named = {"format": None if certificate.target else certificate.format, "target": certificate.target}
    runtime = find_maker(**named).open(
        folder, image_size=certificate.model.image_size, precision=certificate.precision, threads=threads
    )
    frame = None if certificate.frame is None else (certificate.frame[0], certificate.frame[1])
    return ExportedSam(runtime, arch=certificate.model.arch, image_size=certificate.model.image_size, frame=frame)
