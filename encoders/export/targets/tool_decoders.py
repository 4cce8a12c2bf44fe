"""Decoders for tools whose numbers are fixed, or who add the padding point otherwise than segment-anything does."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.contract import MASK_STRIDE
from encoders.export.decoder_module import PADDING, TOP_LEFT, SamOnnxDecoder
from encoders.export.formats.onnx import MAX_POINTS, MAX_PROMPTS
from encoders.sam import Sam

TOOL_FRAME = 1024  # pixels, long side of SAM's frame, which tools take for granted
TOOL_MASK = TOOL_FRAME // MASK_STRIDE


class FramedDecoder(SamOnnxDecoder):
    """segment-anything's ONNX decoder, whatever S is, for callers that know SAM's own numbers only.

    `mask_input` is (1, 1, 256, 256) at every S, resampled inside. The padding point may be there or not, see `settle_padding`.

    Args:
        sam: in eval mode.
        frame: long side of the frame that `point_coords` are in, in pixels; None is S.
    """

    def __init__(self, sam: Sam, *, frame: int | None = None) -> None:
        super().__init__(sam)
        self.scale = 1.0 if frame is None else sam.image_size / frame

    def forward(  # type: ignore[override]
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SamOnnxDecoder.forward`."""
        side = self.image_size // MASK_STRIDE
        if side != TOOL_MASK:
            mask_input = F.interpolate(mask_input, size=(side, side), mode="bilinear", align_corners=False)
        coords, labels = settle_padding(point_coords * self.scale, point_labels)
        return super().forward(image_embeddings, coords, labels, mask_input, has_mask_input, orig_im_size)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs to export with."""
        side = self.image_size // 16
        return (
            torch.zeros(1, 256, side, side),
            *points_example(),
            torch.zeros(1, 1, TOOL_MASK, TOOL_MASK),
            torch.zeros(1),
            torch.tensor([48.0, 64.0]),
        )


def points_example(labels: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Coordinates (2, 3, 2) and labels (2, 3) of two prompts of three points, to export with."""
    coords = torch.tensor([[[10.0, 20.0], [30.0, 50.0], [15.0, 40.0]]]).repeat(2, 1, 1)
    return coords, torch.tensor([[1, 0, 1]]).repeat(2, 1).to(labels)


def points_shapes() -> tuple[dict[int, Any], dict[int, Any]]:
    """The free axes of `points_example`, for `torch.export`."""
    prompts = torch.export.Dim("prompts", min=1, max=MAX_PROMPTS)
    points = torch.export.Dim("points", min=1, max=MAX_POINTS)
    return {0: prompts, 1: points}, {0: prompts, 1: points}


def settle_padding(coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One (0, 0) point labelled -1 at the end of prompts without a box and none behind a box, as segment-anything has it.

    Some tools add that point always, some never; a point too many or too few changes the mask. All prompts of a call are of one
    kind; the first one tells. Source: segment-anything, `PromptEncoder._embed_points`.

    Args:
        coords: (P, N, 2), labels: (P, N).

    Returns:
        The same with N - 1, N or N + 1 points.
    """
    longer = torch.cat([coords, torch.zeros_like(coords[:, :1])], dim=1)
    longer_labels = torch.cat([labels, torch.full_like(labels[:, :1], PADDING)], dim=1)
    has_box = (labels[0] >= TOP_LEFT).any().to(torch.int64)
    has_padding = (labels[0, -1] == PADDING).to(torch.int64)
    surplus = (has_box + has_padding).item()
    torch._check(surplus >= 0)
    torch._check(surplus <= 2)
    count = longer.shape[1] - surplus
    torch._check(count >= 1)
    return longer[:, :count], longer_labels[:, :count]
