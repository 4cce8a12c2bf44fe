"""A whole SAM as the one graph that Apple's `ImageSegmenter` calls: photo and prompts in, candidates and scores out.

Its shapes are fixed, and `ImageSegmenter` fills up the points of each prompt with points labelled -1. EfficientSAM, for which
it was made, ignores them; to SAM each would be one more token that changes the answer. `decode_settled` ignores them too, and
adds SAM's own padding point where it belongs, so the answers are SAM's for every number of points.

Source: apple/coreai-models, `ImageSegmentationEngine.swift` (`buildPointTensors`, `reduceBestOfK`, `preprocessImageForPoints`)
and `models/efficient-sam/export.py`.
"""

import torch
from torch import Tensor, nn

from encoders.export.modules.pixel_encoder import PixelEncoder
from encoders.export.modules.prompt_decoder import PADDING, TOP_LEFT, PromptDecoder
from encoders.export.targets.padding_points import decode_settled
from encoders.sam import Sam

NOT_MEANT = 10.0  # subtracted from the predicted IoU of masks that SAM would not return for the prompt


class Segmenter(PromptDecoder):
    """Encoder, prompt encoder and mask decoder of one photo and a fixed number of prompts; in eval mode.

    `ImageSegmenter` picks the mask with the highest score. SAM returns its single mask for a box or several points, and the
    best of its three other masks for one point alone. The scores are adjusted so that `ImageSegmenter` picks the mask SAM would
    return: `NOT_MEANT` is subtracted from the scores of the others.

    Args:
        sam: the model whose prompt encoder and mask decoder are copied.
        encoder: its image encoder in exportable form.
    """

    def __init__(self, sam: Sam, encoder: nn.Module) -> None:
        super().__init__(sam)
        self.encoder = PixelEncoder(encoder, scale=255.0)

    def forward(self, images: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Decode Q prompts.

        Args:
            images: (1, 3, S, S) float32 RGB in [0, 1], the photo stretched to a square.
            points: (1, Q, P, 2) float32 xy in pixels of it.
            labels: (1, Q, P) float32: 1 foreground, 0 background, 2 and 3 corners of a box, -1 for no point.

        Returns:
            logits (1, Q, 4, S/4, S/4), the single mask first; predicted IoU (1, Q, 4), less `NOT_MEANT` where it applies;
            the image's embedding (1, 256, S/16, S/16), which `ImageSegmenter` does not read.
        """
        coords, kinds = points.squeeze(0), labels.squeeze(0)
        given = (kinds != PADDING).to(coords.dtype).sum(dim=1, keepdim=True)
        boxed = (kinds >= TOP_LEFT).to(coords.dtype).amax(dim=1, keepdim=True)
        several = (boxed + given > 1.5).to(coords.dtype)  # (Q, 1)
        embedding = self.encoder(images)
        image = embedding + self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        logits, scores = decode_settled(self, image, coords, kinds)
        scores = scores - NOT_MEANT * torch.cat([1 - several, several.expand(-1, 3)], dim=1)
        return logits.unsqueeze(0), scores.unsqueeze(0), embedding
