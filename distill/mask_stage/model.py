"""The trainable SAM of the mask stage: computes losses against true masks from photos and prompts.

Source: SAM paper, appendix A (minimum over the multimask outputs, an error click fed back with the earlier logits, IoU
head trained by squared error), with BCE + dice where focal + dice learns too slowly from few photos (docs/log.md).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from distill.config.mask import MaskLossConfig
from distill.mask_stage.batch import MaskBatch, PromptGroup
from distill.mask_stage.losses import mask_iou, mask_loss
from distill.mask_stage.prompts import error_clicks
from encoders.contract import MASK_STRIDE
from encoders.decoder.masks import pick_masks
from encoders.sam import Sam


class PromptedSam(nn.Module):
    """The module trained in the mask stage: takes a batch and returns named, weighted losses.

    BatchNorm stays in eval mode: a few photos a step would ruin its statistics.
    """

    def __init__(self, sam: Sam, *, weights: MaskLossConfig) -> None:
        super().__init__()
        self.sam = sam
        self.weights = weights

    def train(self, mode: bool = True) -> "PromptedSam":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, batch: MaskBatch) -> dict[str, Tensor]:
        """Means over the batch's prompts: the weighted terms `mask`, `multimask`, `iou`, `refine`; weight 0 is left out."""
        device = self.sam.device
        embeddings = self.sam.image_encoder(batch.image(device))
        count = len(batch.is_box)
        totals: dict[str, Tensor] = {}
        for prompts in batch.groups(device):
            share = len(prompts.image_index) / count
            for name, loss in self._rounds(embeddings, prompts).items():
                totals[name] = totals.get(name, 0.0) + loss * share
        return totals

    def _rounds(self, embeddings: Tensor, prompts: PromptGroup) -> dict[str, Tensor]:
        weights = self.weights
        logits, scores = self._decode(embeddings, prompts, masks=None)
        loss = self._mask_loss(logits, prompts)
        iou = mask_iou(logits, prompts.target, prompts.valid)
        losses = {"mask": loss[:, 0].mean()}
        if weights.multimask and prompts.boxes is None:
            losses["multimask"] = weights.multimask * loss[:, 1:].min(dim=1).values.mean()
        if weights.iou:
            losses["iou"] = weights.iou * (scores - iou).square().mean()
        if weights.refine:
            best = logits[:, 0] if prompts.boxes is not None else _best(logits[:, 1:], scores[:, 1:])
            some = prompts.refined(weights.refine_share)
            if len(some.slots):
                refined = self._refine(embeddings, some, best[: len(some.slots)].detach())
                losses["refine"] = weights.refine * refined.sum() / (weights.refine_share * len(best))
        return losses

    def _refine(self, embeddings: Tensor, prompts: PromptGroup, earlier: Tensor) -> Tensor:
        """(G,) losses of one more round on the single mask, with a click where the `earlier` logits (G, S/4, S/4) are wrong."""
        wrong = (earlier > 0) & prompts.valid
        truth = (prompts.target > 0.5) & prompts.valid
        points, labels = error_clicks(wrong, truth, stride=MASK_STRIDE, seeds=prompts.seeds)
        if prompts.points is not None and prompts.labels is not None:
            points = torch.cat([prompts.points, points], dim=1)
            labels = torch.cat([prompts.labels, labels], dim=1)
        refined = replace(prompts, points=points, labels=labels)
        logits, scores = self._decode(embeddings, refined, masks=earlier[:, None])
        iou = mask_iou(logits[:, :1], prompts.target, prompts.valid)
        return (self._mask_loss(logits[:, :1], prompts) + self.weights.iou * (scores[:, :1] - iou).square())[:, 0]

    def _decode(self, embeddings: Tensor, prompts: PromptGroup, *, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.sam.decode_all(
            embeddings,
            image_index=prompts.image_index,
            points=prompts.points,
            labels=prompts.labels,
            boxes=prompts.boxes,
            masks=masks,
        )

    def _mask_loss(self, logits: Tensor, prompts: PromptGroup) -> Tensor:
        """(G, M, h, w) logits -> (G, M) weighted sum of the mask terms."""
        weights, target, valid = self.weights, prompts.target, prompts.valid
        return mask_loss(logits, target, valid, weights=weights.model_dump(), object_weight=weights.bce_object)


def _best(logits: Tensor, scores: Tensor) -> Tensor:
    """Select the mask with the highest predicted IoU: (G, M, h, w), (G, M) -> (G, h, w)."""
    return pick_masks(logits, scores.argmax(dim=1))
