"""segment-anything's prompt encoder, embedding points without waiting for the device."""

import torch
from segment_anything.modeling import PromptEncoder as StockPromptEncoder
from torch import Tensor

from encoders.prompts import BACKGROUND, FOREGROUND, PADDING


class PromptEncoder(StockPromptEncoder):
    """The stock module, with its parameters and results; only points are embedded by other operations.

    The stock code selects points by boolean masks, so a GPU has to report how many there are, four times a call
    (segment-anything, `modeling/prompt_encoder.py`, `_embed_points`). Here every point selects its label's embedding.
    """

    def _embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """Embed (P, N, 2) points with (P, N) labels as (P, N, C), with one padding point more if `pad`."""
        points = points + 0.5  # centre of the pixel
        if pad:
            points = torch.nn.functional.pad(points, (0, 0, 0, 1))
            labels = torch.nn.functional.pad(labels, (0, 1), value=PADDING)
        kind = labels[..., None]
        positions = self.pe_layer.forward_with_coords(points, self.input_image_size).masked_fill(kind == PADDING, 0)
        background, foreground = (self.point_embeddings[label].weight for label in (BACKGROUND, FOREGROUND))
        learned = torch.where(kind == BACKGROUND, background, torch.where(kind == FOREGROUND, foreground, 0))
        return positions + torch.where(kind == PADDING, self.not_a_point_embed.weight, learned)
