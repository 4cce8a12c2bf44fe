"""Decoders for tools that assume a frame of 1024 pixels, or that add padding points where segment-anything adds none."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.contract import MASK_STRIDE
from encoders.export.formats.onnx import MAX_POINTS, MAX_PROMPTS
from encoders.export.modules.prompt_decoder import SamOnnxDecoder
from encoders.export.targets.padding_points import decode_settled
from encoders.sam import Sam

TOOL_FRAME = 1024  # pixels: the long side of SAM's frame, which tools assume
TOOL_MASK = TOOL_FRAME // MASK_STRIDE


class FramedDecoder(SamOnnxDecoder):
    """segment-anything's ONNX decoder for a model of any size S, for callers that assume SAM's own 1024 pixels.

    `mask_input` is (1, 1, 256, 256) at every S and resampled inside. Padding points may be given or not, see `padding_points`.

    Args:
        sam: the model, in eval mode.
        frame: long side, in pixels, of the frame of `point_coords`; None for S.
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
        image = image_embeddings + self.embed_masks(mask_input, has_mask_input)
        logits, scores = decode_settled(self, image, point_coords * self.scale, point_labels)
        return self.upscale(logits, orig_im_size), scores, logits

    def example(self) -> tuple[Tensor, ...]:
        """Return example inputs to export with."""
        side = self.image_size // 16
        return (
            torch.zeros(1, 256, side, side),
            *points_example(),
            torch.zeros(1, 1, TOOL_MASK, TOOL_MASK),
            torch.zeros(1),
            torch.tensor([48.0, 64.0]),
        )


def points_example(labels: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return coordinates (2, 3, 2) and labels (2, 3) of two prompts of three points, to export with."""
    coords = torch.tensor([[[10.0, 20.0], [30.0, 50.0], [15.0, 40.0]]]).repeat(2, 1, 1)
    return coords, torch.tensor([[1, 0, 1]]).repeat(2, 1).to(labels)


def points_shapes() -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the dynamic axes of `points_example`, for `torch.export`."""
    prompts = torch.export.Dim("prompts", min=1, max=MAX_PROMPTS)
    points = torch.export.Dim("points", min=1, max=MAX_POINTS)
    return {0: prompts, 1: points}, {0: prompts, 1: points}
