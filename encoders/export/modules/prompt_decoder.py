"""Prompt encoder and mask decoder as one exportable graph without data-dependent branches.

The arithmetic is segment-anything's; what differs is how it is written down. Labels are looked up by comparison instead of by
boolean assignment, which some exporters cannot trace, the dense positional encoding is a buffer instead of a computation, and
an image is spread over prompts by adding zeros instead of `repeat_interleave`.

Source: segment-anything, `utils/onnx.py` (`SamOnnxModel`), `modeling/prompt_encoder.py` and `modeling/mask_decoder.py`.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.sam import Sam

PADDING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3  # labels of points
Transform = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # of image, its positions and tokens


class PromptDecoder(nn.Module):
    """Points and boxes, no mask input -> the four masks of each prompt.

    The prompt contract: xy in pixels of the S x S input frame; label 1 foreground, 0 background, 2 and 3 the top left and
    bottom right corner of a box, -1 padding. A prompt without a box ends with a padding point, as segment-anything's does;
    further padding points change the answer.

    Args:
        sam: whose prompt encoder and mask decoder are copied; in eval mode.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.image_size = sam.image_size
        self.prompt_encoder = copy.deepcopy(sam.prompt_encoder)
        self.mask_decoder = copy.deepcopy(sam.mask_decoder)
        self.places: Tensor
        # Contiguous, as ExecuTorch silently computes something else from a constant of permuted strides.
        places = sam.prompt_encoder.get_dense_pe().detach().clone(memory_format=torch.contiguous_format)
        self.register_buffer("places", places)
        self.eval()

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 256, S/16, S/16), (P, N, 2) float32, (P, N) -> logits (P, 4, S/4, S/4) and predicted IoU (P, 4).

        Mask 0 is the single one, 1 to 3 are those of multimask.
        """
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return self.decode(image_embeddings + no_mask, self.embed_points(point_coords, point_labels))

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """(P, N, 2), (P, N) -> (P, N, 256)."""
        encoder = self.prompt_encoder
        embedded = encoder.pe_layer._pe_encoding((coords + 0.5) / self.image_size)
        labels = labels.unsqueeze(-1)
        padding = (labels == PADDING).to(embedded.dtype)
        embedded = embedded * (1 - padding) + padding * encoder.not_a_point_embed.weight
        for label, embedding in enumerate(encoder.point_embeddings):
            embedded = embedded + (labels == label).to(embedded.dtype) * embedding.weight
        return embedded

    def embed_masks(self, masks: Tensor, has_mask: Tensor) -> Tensor:
        """(P or 1, 1, S/4, S/4) logits, (P or 1,) -> (P or 1, 256, S/16, S/16); a mask counts where `has_mask` is above 0.

        segment-anything multiplies by `has_mask`, so that the -1 that some tools send for "none" would add the mask's negative.
        """
        given = (has_mask > 0).to(masks.dtype).reshape(-1, 1, 1, 1)
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return given * self.prompt_encoder.mask_downscaling(masks) + (1 - given) * no_mask

    def decode(self, image: Tensor, sparse: Tensor, *, transform: Transform | None = None) -> tuple[Tensor, Tensor]:
        """Image with its dense term (P or 1, 256, h, w), (P, N, 256) -> logits (P, 4, 4h, 4w), predicted IoU (P, 4).

        `transform` takes the place of the mask decoder's transformer.
        """
        decoder = self.mask_decoder
        zero = sparse[:, :1, :1] * 0  # (P, 1, 1)
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).unsqueeze(0)
        tokens = torch.cat([output + zero, sparse], dim=1)
        source = image + zero.unsqueeze(-1)
        queries, places = (transform or decoder.transformer)(source, self.places, tokens)
        side_by_side = places.transpose(1, 2).reshape(-1, source.shape[1], source.shape[2], source.shape[3])
        upscaled = decoder.output_upscaling(side_by_side)
        mask_tokens = queries[:, 1 : 1 + decoder.num_mask_tokens]
        weights = torch.stack(
            [network(mask_tokens[:, index]) for index, network in enumerate(decoder.output_hypernetworks_mlps)], dim=1
        )
        logits = (weights @ upscaled.flatten(2)).reshape(-1, weights.shape[1], upscaled.shape[2], upscaled.shape[3])
        return logits, decoder.iou_prediction_head(queries[:, 0])


class SamOnnxDecoder(PromptDecoder):
    """`PromptDecoder` under the inputs and outputs of segment-anything's ONNX decoder, which all SAM tools expect.

    As `SamOnnxModel` with `return_single_mask=False`, for P prompts instead of one, right at every photo size, and with "no
    mask" for every `has_mask_input` that is not above 0.
    """

    def forward(  # type: ignore[override]
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks in pixels of the photo.

        Args:
            image_embeddings: (1, 256, S/16, S/16) float32.
            point_coords: (P, N, 2) float32 xy, point_labels: (P, N) float32; see `PromptDecoder`.
            mask_input: (P or 1, 1, S/4, S/4) float32 logits, has_mask_input: (P or 1,) float32, 1 where it counts.
            orig_im_size: (2,) float32, height and width of the photo.

        Returns:
            masks (P, 4, H, W) logits, iou_predictions (P, 4), low_res_masks (P, 4, S/4, S/4); the single mask first.
        """
        dense = self.embed_masks(mask_input, has_mask_input)
        logits, scores = self.decode(image_embeddings + dense, self.embed_points(point_coords, point_labels))
        return self.upscale(logits, orig_im_size), scores, logits

    def upscale(self, logits: Tensor, orig_im_size: Tensor) -> Tensor:
        """(P, 4, S/4, S/4) -> (P, 4, H, W). Source: `SamOnnxModel.mask_postprocessing`."""
        size = self.image_size
        frame = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)
        photo = torch.clamp(torch.floor(orig_im_size * (size / torch.max(orig_im_size)) + 0.5), min=1).to(torch.int64)
        rows, columns = photo[0].item(), photo[1].item()
        torch._check(rows >= 1)
        torch._check(rows <= size)
        torch._check(columns >= 1)
        torch._check(columns <= size)
        frame = frame[..., :rows, :columns]
        whole = orig_im_size.to(torch.int64)
        height: Any = whole[0].item()  # int() would fix it to one value, and the exporter would have to start again
        width: Any = whole[1].item()
        torch._check(height >= 1)
        torch._check(width >= 1)
        return F.interpolate(frame, size=(height, width), mode="bilinear", align_corners=False)
