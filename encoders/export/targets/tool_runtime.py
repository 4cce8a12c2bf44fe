"""Runtimes that run a tool's files for the certificate with the same calls as the tool, one prompt at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from encoders.export.formats.base import no_mask_input
from encoders.export.formats.onnx import OnnxRuntime
from encoders.export.modules.prompt_decoder import PADDING
from encoders.export.targets.photo_encoder import photo_of
from encoders.export.targets.tool_decoders import TOOL_MASK

Feed = dict[str, np.ndarray]


class ToolRuntime(OnnxRuntime):
    """ONNX Runtime with a tool's encoder and a decoder with segment-anything's names, called as the tool calls them.

    Args:
        encoder, decoder: paths of the files; image_size: S in pixels.
        frame: long side, in pixels, of the frame in which the tool gives points; None for S.
        orig_im_size: height and width that the tool passes; None for (S, S), as the photo's size is not known here.
        has_mask: the value that the tool passes for "no mask".
        threads: threads for one operation; None leaves the choice to ONNX Runtime.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: a file is missing or is not a model.
    """

    def __init__(
        self,
        encoder: Path,
        decoder: Path,
        *,
        image_size: int,
        frame: int | None = None,
        orig_im_size: tuple[int, int] | None = None,
        has_mask: float = 0.0,
        threads: int | None = None,
    ) -> None:
        super().__init__(encoder, decoder, image_size=image_size, threads=threads)
        self.scale = 1.0 if frame is None else frame / image_size
        self.orig_im_size = orig_im_size or (image_size, image_size)
        self.has_mask = has_mask

    def decode(
        self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.decode`.

        Raises:
            InputError: masks are given; the tool never gives any.
        """
        no_mask_input(masks)
        return one_by_one(lambda *prompt: self._decode(embedding, *prompt), coords=coords, labels=labels)

    def _decode(self, embedding: np.ndarray, coords: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = {
            "image_embeddings": embedding,
            "point_coords": (coords * self.scale).astype(np.float32),
            "point_labels": labels.astype(np.float32),
            "mask_input": np.zeros((1, 1, TOOL_MASK, TOOL_MASK), np.float32),
            "has_mask_input": np.asarray([self.has_mask], np.float32),
            "orig_im_size": np.asarray(self.orig_im_size, np.float32),
        }
        scores, logits = self._decoder.run(["iou_predictions", "low_res_masks"], given)
        return logits, scores


class PhotoToolRuntime(ToolRuntime):
    """A `ToolRuntime` whose encoder takes the photo itself, float32 (H, W, 3) or uint8 (1, 3, H, W)."""

    def encode(self, image: np.ndarray) -> np.ndarray:
        """See `Runtime.encode`; the photo is passed at the size that it has in the frame, without padding.

        The certificate and the latency lab pass the normalised frame, so the photo's pixels are restored first; this takes
        11 ms at 1024 px.
        """
        return self.encode_photo(photo_of(image))

    def encode_photo(self, photo: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (1, 256, S/16, S/16)."""
        (given,) = self._encoder.get_inputs()
        pixels = photo.astype(np.float32) if given.type == "tensor(float)" else photo.transpose(2, 0, 1)[None]
        (embedding,) = self._encoder.run(None, {given.name: np.ascontiguousarray(pixels)})
        return np.asarray(embedding, np.float32)


def one_by_one(
    ask: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], *, coords: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decode P prompts, (P, N, 2) and (P, N), with a decoder that takes a single one, (1, N, 2) and (1, N)."""
    answers = [ask(coords[i : i + 1], labels[i : i + 1]) for i in range(len(coords))]
    logits, scores = (np.concatenate(values) for values in zip(*answers, strict=True))
    return logits, scores


def without_padding_points(coords: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a prompt (1, N, 2), (1, N) without padding points, as passed by a tool whose decoder adds them itself."""
    kept = labels[0] != PADDING
    return coords[:, kept], labels[:, kept]
