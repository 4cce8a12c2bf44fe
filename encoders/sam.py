"""The SAM model: one of our image encoders with segment-anything's prompt encoder and mask decoder."""

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn

from encoders.contract import EMBED_DIM, STRIDE, check_image_size
from encoders.decoder.batched import EmbeddedPrompts, decode_spread, fits
from encoders.decoder.masks import logits_to_masks, upscale_logits
from encoders.decoder.prompt_encoder import PromptEncoder
from encoders.geometry import Shape

SINGLE_TOKEN, MULTIMASK_TOKENS = slice(0, 1), slice(1, None)  # of the decoder's four mask tokens


def build_prompt_encoder(image_size: int) -> PromptEncoder:
    """segment-anything's prompt encoder for an S x S input frame. Source: segment-anything, `build_sam.py`."""
    side = check_image_size(image_size) // STRIDE
    return PromptEncoder(
        embed_dim=EMBED_DIM,
        image_embedding_size=(side, side),
        input_image_size=(image_size, image_size),
        mask_in_chans=16,
    )


def build_mask_decoder() -> MaskDecoder:
    """segment-anything's mask decoder, which works at any image size. Source: segment-anything, `build_sam.py`."""
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, mlp_dim=2048, num_heads=8),
        transformer_dim=EMBED_DIM,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder under segment-anything's names.

    Args:
        arch: registry name of the image encoder.
        image_encoder: (B, 3, S, S) -> (B, 256, S/16, S/16).
        image_size: S in pixels.
    """

    def __init__(self, *, arch: str, image_encoder: nn.Module, image_size: int) -> None:
        super().__init__()
        self.arch = arch
        self.image_size = check_image_size(image_size)
        self.fused = False  # True after `encoders.fuse`: the image encoder's parameter names differ
        self.image_encoder = image_encoder
        self.prompt_encoder = build_prompt_encoder(image_size)
        self.mask_decoder = build_mask_decoder()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

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
        """Decode P prompts, spread over B images, in one pass; all four mask tokens.

        Without autograd this is the way of `encoders.decoder`, which differs by rounding.

        Args:
            embeddings: (B, 256, S/16, S/16).
            image_index: (P,) int64, the image of each prompt.
            points: (P, N, 2) float xy in the input frame; labels: (P, N) int, 1 foreground, 0 background, -1 none.
            boxes: (P, 4) float xyxy in the input frame.
            masks: (P, 1, S/4, S/4) logits of an earlier round.

        Returns:
            logits (P, 4, S/4, S/4) and predicted IoU (P, 4); token 0 is the single mask, 1 to 3 the multimask output.
        """
        prompts = self._embed_prompts(points, labels, boxes, masks)
        return self._decode(embeddings, image_index=image_index, prompts=prompts, tokens=slice(None))

    def decode(
        self,
        embeddings: Tensor,
        *,
        image_index: Tensor,
        multimask: bool = True,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Like `decode_all`, but return only the single mask or the three multimask outputs.

        Returns:
            logits (P, M, S/4, S/4) and predicted IoU (P, M); M = 3 with `multimask`, else 1.
        """
        prompts = self._embed_prompts(points, labels, boxes, masks)
        tokens = MULTIMASK_TOKENS if multimask else SINGLE_TOKEN
        return self._decode(embeddings, image_index=image_index, prompts=prompts, tokens=tokens)

    def _embed_prompts(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, masks: Tensor | None
    ) -> EmbeddedPrompts:
        given = None if points is None else (points, labels)
        sparse, dense = self.prompt_encoder(points=given, boxes=boxes, masks=masks)
        return EmbeddedPrompts(sparse=sparse, dense=dense, has_masks=masks is not None)

    def _decode(
        self, embeddings: Tensor, *, image_index: Tensor, prompts: EmbeddedPrompts, tokens: slice
    ) -> tuple[Tensor, Tensor]:
        """Decode the given mask tokens only.

        The stock decoder repeats one image's embedding over all prompts; handing it each prompt's own embedding as the
        dense term gives the same sum for several images at once (reference: `mask_decoder.py`, `predict_masks`).
        """
        positions = self.prompt_encoder.get_dense_pe().to(torch.result_type(embeddings, prompts.dense))
        if fits(self.mask_decoder, prompts=prompts):
            return decode_spread(
                self.mask_decoder,
                embeddings=embeddings,
                image_index=image_index,
                positions=positions,
                prompts=prompts,
                tokens=tokens,
            )
        source = embeddings.index_select(0, image_index) + prompts.dense  # its gradient is the same every time, on a CPU
        logits, scores = self.mask_decoder.predict_masks(
            image_embeddings=torch.zeros_like(source[:1]),
            image_pe=positions,
            sparse_prompt_embeddings=prompts.sparse,
            dense_prompt_embeddings=source,
        )
        return logits[:, tokens], scores[:, tokens]

    def upscale(self, logits: Tensor, *, shape: Shape) -> Tensor:
        """(P, M, S/4, S/4) logits -> (P, M, H, W) logits of the original image."""
        return upscale_logits(logits, shape=shape, image_size=self.image_size)

    def to_masks(self, logits: Tensor, *, shape: Shape) -> Tensor:
        """(P, M, S/4, S/4) logits -> (P, M, H, W) bool, masks of the original image."""
        return logits_to_masks(logits, shape=shape, image_size=self.image_size)
