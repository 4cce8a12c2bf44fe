"""The decoder that CVAT's page runs in the browser, with the outputs that it reads."""

from typing import Any

import torch
from torch import Tensor

from encoders.export.modules.prompt_decoder import PADDING
from encoders.export.targets.tool_decoders import FramedDecoder

SINGLE_FROM = 2.5  # points, including the padding point: with more, the single mask is chosen
FAVOUR = 1000.0  # above every predicted IoU


class CvatDecoder(FramedDecoder):
    """One mask of one prompt, cropped to the object, and its place in the photo.

    Source: cvat-ai/cvat, `cvat-ui/plugins/sam/src/ts/index.tsx` and `inference.worker.ts` (inputs and outputs by name; earlier
    versions add the padding point, later ones do not), pull request 6019 (the outputs are those of segment-anything's
    `SamOnnxModel` with `return_single_mask`, and the mask's corners). Source of the mask's choice: segment-anything,
    `utils/onnx.py` (`SamOnnxModel.select_masks`).
    """

    def forward(  # type: ignore[override]
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, ...]:
        """As `SamOnnxDecoder.forward` for one prompt.

        Returns:
            masks (1, 1, h, w) uint8, 1 on the object; iou_predictions (1, 1); low_res_masks (1, 1, S/4, S/4); xtl, ytl, xbr and
            ybr, int64 scalars, the first and last column and row of `masks` in the photo; then iou_predictions (1, 4) and
            low_res_masks (1, 4, S/4, S/4) of all four masks, which CVAT does not read.
        """
        masks, scores, logits = super().forward(
            image_embeddings, point_coords, point_labels, mask_input, has_mask_input, orig_im_size
        )
        points = point_labels.shape[1] + (point_labels[0, -1] != PADDING).to(scores.dtype)  # including the padding point
        favour = torch.zeros_like(scores)
        favour[:, 0] = FAVOUR * (points - SINGLE_FROM)
        best = (scores + favour).argmax(dim=1)
        mask = masks.index_select(1, best) > 0
        top, bottom = ends(mask[0, 0].any(dim=1))
        left, right = ends(mask[0, 0].any(dim=0))
        cut = mask.to(torch.uint8).index_select(2, span(top, bottom)).index_select(3, span(left, right))
        chosen = scores.index_select(1, best), logits.index_select(1, best)
        return cut, *chosen, left, top, right, bottom, scores, logits


def ends(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of the first and last True of (N,) bool as int64 scalars; 0 and 0 if there is none."""
    places = torch.arange(seen.shape[0], device=seen.device)
    first = torch.where(seen, places, seen.shape[0]).amin(dim=0)
    return torch.where(seen.any(), first, 0), (places * seen).amax(dim=0)


def span(first: Tensor, last: Tensor) -> Tensor:
    """Return the integers from first to last, inclusive."""
    count: Any = (last - first + 1).item()  # a symbol while exporting, which int() would break
    torch._check(count >= 1)
    return torch.arange(count, device=first.device) + first
