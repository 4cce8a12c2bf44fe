"""The trainable model of the prompt stage: computes losses between the masks of a student and those of its teacher.

Sources: EdgeSAM, arXiv 2312.06660, section 3.2 (prompts in the loop, the next click where student and teacher differ); SAM,
arXiv 2304.02643, appendix A (several rounds, each fed with the logits of the one before).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from distill.config.prompt_stage import PromptLossConfig, PromptsConfig
from distill.config.runs import EmbeddingLossConfig
from distill.losses import ChannelScale, embedding_losses
from distill.mask_stage.batch import valid_cells
from distill.mask_stage.losses import mask_loss
from distill.mask_stage.prompts import error_clicks
from distill.prompt_stage.batch import DrawnPrompts, PromptedBatch
from distill.prompt_stage.teacher_boxes import jitter_boxes, mask_boxes
from encoders.contract import MASK_STRIDE
from encoders.decoder.masks import pick_masks
from encoders.sam import MULTIMASK_TOKENS, SINGLE_TOKEN, Sam

LAYOUT = torch.channels_last
ALL_TOKENS = slice(None)
DRAWN, KEPT = "boxes_drawn", "boxes_kept"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of decoding G prompts of one kind.

    Attributes:
        points: (G, N, 2) float32 xy with labels (G, N); boxes: (G, 4) float32 xyxy; in pixels of the input frame.
        weight: (G,) float32, 0 for a prompt that does not count.
        student, teacher: (G, 1, S/4, S/4) logits of the round before, None in the first.
    """

    image_index: Tensor
    points: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None
    valid: Tensor
    weight: Tensor
    seeds: Tensor
    student: Tensor | None = None
    teacher: Tensor | None = None

    @property
    def tokens(self) -> slice:
        """The masks that SAM would give: three for a single click, else one. A click is trained on all four."""
        return ALL_TOKENS if self.boxes is None and self.student is None else SINGLE_TOKEN


class PromptedStudent(nn.Module):
    """The module trained in the prompt stage: takes a batch and returns named, weighted losses.

    Args:
        sam: the student, with the prompt encoder and mask decoder that it will be used with.
        scale: normalises embeddings for their losses, see `distill.losses.embedding_losses`.
        teacher: a Sam whose prompt encoder and mask decoder are the teacher's; None if `sam` has the
            teacher's and does not train them.
    """

    def __init__(
        self,
        sam: Sam,
        *,
        teacher: Sam | None,
        prompts: PromptsConfig,
        embedding_loss: EmbeddingLossConfig | None,
        mask_loss: PromptLossConfig,
        scale: ChannelScale | None = None,
    ) -> None:
        super().__init__()
        self._scale = scale
        self.sam, self.teacher = sam, teacher
        self.prompts, self.embedding_loss, self.mask_loss = prompts, embedding_loss, mask_loss

    def forward(self, batch: PromptedBatch) -> dict[str, Tensor]:
        """Mean embedding losses, and means over all prompts of `mask`, `truth` and `iou`; weight 0 is left out.

        `boxes_drawn` and `boxes_kept` are no losses: how many boxes come from the teacher's masks, and how many of them count.
        """
        device = self.sam.device
        photos, prompts = batch.photos.to_device(device), batch.prompts.to(device)
        embedding = self.sam.image_encoder(photos.image.contiguous(memory_format=LAYOUT))
        losses: dict[str, Tensor] = {}
        if self.embedding_loss is not None:
            self._scale = self._scale and self._scale.to(device)  # copied at the first step only
            losses = embedding_losses(embedding, photos.teacher, photos.valid, weights=self.embedding_loss, scale=self._scale)
        sizes = batch.photos.sizes.to(device, non_blocking=True)
        valid = valid_cells(sizes, side=self.sam.image_size // MASK_STRIDE)
        count = len(prompts.image_index)
        totals: dict[str, Tensor] = {}
        kinds = self._with_boxes(prompts, photos.teacher, valid=valid)
        if self.prompts.box_share:
            losses[DRAWN] = torch.full((), float(prompts.drawn), device=device)
            losses[KEPT] = kinds[0][0].weight[: prompts.drawn].sum()
        for kind in kinds:
            for name, sums in self._rounds(embedding, photos.teacher, *kind).items():
                totals[name] = totals.get(name, 0.0) + sums / count
        return losses | totals

    def _with_boxes(
        self, prompts: DrawnPrompts, teacher: Tensor, *, valid: Tensor
    ) -> list[tuple[Round, Tensor | None, Tensor]]:
        """Return the first round of the boxes and of the points, each with its true masks and which prompts have one."""
        boxes, weight = prompts.boxes, torch.ones_like(prompts.boxes[:, 0])
        if prompts.drawn:
            drawn, good = self._teacher_boxes(prompts.rows(0, prompts.drawn), teacher, valid=valid)
            boxes = torch.cat([drawn, boxes[prompts.drawn :]])
            weight = torch.cat([good.float(), weight[prompts.drawn :]])
        moved = jitter_boxes(boxes, seeds=prompts.seeds, image_size=self.sam.image_size)
        boxes = torch.where(prompts.jittered[:, None], moved, boxes)
        kinds = []
        for kind in replace(prompts, boxes=boxes).kinds():
            rows = slice(0, prompts.boxed) if kind.boxed else slice(prompts.boxed, None)
            first = Round(
                image_index=kind.image_index,
                points=None if kind.boxed else kind.points,
                labels=None if kind.boxed else torch.ones_like(kind.points[..., 0], dtype=torch.long),
                boxes=kind.boxes if kind.boxed else None,
                valid=valid[kind.image_index],
                weight=weight[rows],
                seeds=kind.seeds,
            )
            kinds.append((first, kind.truth, kind.annotated))
        return kinds

    @torch.no_grad()
    def _teacher_boxes(self, clicks: DrawnPrompts, teacher: Tensor, *, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes (G, 4) of the teacher's best masks for clicks, and which are of a mask worth learning, (G,) bool."""
        labels = torch.ones_like(clicks.points[..., 0], dtype=torch.long)
        logits, scores = self._teacher().decode(teacher, image_index=clicks.image_index, points=clicks.points, labels=labels)
        score, best = scores.max(dim=1)
        boxes, there = mask_boxes((pick_masks(logits, best) > 0) & valid[clicks.image_index])
        return boxes, there & (score >= self.prompts.min_score)

    def _teacher(self) -> Sam:
        return self.sam if self.teacher is None else self.teacher

    def _rounds(
        self, student: Tensor, teacher: Tensor, prompts: Round, truth: Tensor | None, annotated: Tensor
    ) -> dict[str, Tensor]:
        """Return the sums over G prompts of each weighted term, averaged over the rounds."""
        totals: dict[str, Tensor] = {}
        rounds = self.prompts.rounds
        for number in range(rounds):
            with torch.no_grad():
                target, target_scores = self._decode(self._teacher(), teacher, prompts, earlier=prompts.teacher)
            logits, scores = self._decode(self.sam, student, prompts, earlier=prompts.student)
            terms = self._terms(logits, scores, target, target_scores, prompts, truth=truth, annotated=annotated)
            for name, loss in terms.items():
                totals[name] = totals.get(name, 0.0) + loss / rounds
            if number + 1 < rounds:
                best = _best(target_scores, tokens=prompts.tokens)
                prompts = _next_round(prompts, pick_masks(logits.detach(), best), pick_masks(target, best), number=number)
        return totals

    def _decode(self, sam: Sam, embeddings: Tensor, prompts: Round, *, earlier: Tensor | None) -> tuple[Tensor, Tensor]:
        return sam.decode_all(
            embeddings,
            image_index=prompts.image_index,
            points=prompts.points,
            labels=prompts.labels,
            boxes=prompts.boxes,
            masks=earlier if self.prompts.feed_logits else None,
        )

    def _terms(
        self,
        logits: Tensor,
        scores: Tensor,
        target: Tensor,
        target_scores: Tensor,
        prompts: Round,
        *,
        truth: Tensor | None,
        annotated: Tensor,
    ) -> dict[str, Tensor]:
        weights, tokens = self.mask_loss, prompts.tokens
        logits, target = logits[:, tokens], target[:, tokens]
        soft = weights.targets == "soft"
        target = target.sigmoid() if soft else (target > 0).to(logits.dtype)
        terms: dict[str, Tensor] = {}
        if weights.teacher:
            loss = self._mask_loss(logits, target, prompts.valid, soft=soft).mean(dim=1)
            terms["mask"] = weights.teacher * (loss * prompts.weight).sum()
        if weights.truth and truth is not None:
            loss = self._mask_loss(logits, truth[:, None].expand_as(logits), prompts.valid, soft=False)
            # As in SAM's training the best of the masks for a click counts, and the single one.
            best = loss[:, 0] if loss.shape[1] == 1 else (loss[:, 0] + loss[:, MULTIMASK_TOKENS].min(dim=1).values) / 2
            terms["truth"] = weights.truth * (best * annotated).sum()
        if weights.iou:
            difference = (scores - target_scores)[:, tokens].square().mean(dim=1)
            terms["iou"] = weights.iou * (difference * prompts.weight).sum()
        return terms

    def _mask_loss(self, logits: Tensor, target: Tensor, valid: Tensor, *, soft: bool) -> Tensor:
        """(G, M, h, w) logits and targets, 0 to 1, (G, h, w) valid -> (G, M) weighted sum of the mask terms."""
        count, masks = logits.shape[:2]
        each, flat = valid.repeat_interleave(masks, dim=0), logits.flatten(0, 1)[:, None]
        loss = mask_loss(flat, target.flatten(0, 1), each, weights=self.mask_loss.model_dump(), soft=soft)
        return loss.view(count, masks)


def _best(scores: Tensor, *, tokens: slice) -> Tensor:
    """(G,) int64: the mask that SAM would return, by the predicted IoU where there are several."""
    if tokens == SINGLE_TOKEN:
        return torch.zeros_like(scores[:, 0], dtype=torch.long)
    return scores[:, MULTIMASK_TOKENS].argmax(dim=1) + 1


def _next_round(prompts: Round, student: Tensor, teacher: Tensor, *, number: int) -> Round:
    """Return the next round: one more click where the masks (G, h, w) differ, positive where only the teacher's is."""
    mine, theirs = ((logits > 0) & prompts.valid for logits in (student, teacher))
    points, labels = error_clicks(mine, theirs, stride=MASK_STRIDE, seeds=prompts.seeds + number + 1)
    if prompts.points is not None and prompts.labels is not None:
        points, labels = torch.cat([prompts.points, points], dim=1), torch.cat([prompts.labels, labels], dim=1)
    return replace(prompts, points=points, labels=labels, student=student[:, None], teacher=teacher[:, None])
