"""What decoding masks costs in a step of the prompt stage, and in a probe."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from distill.config.runs import EmbeddingRun, PromptRun
from distill.jobs.planning.compute_cost import LiveBytes
from distill.mask_stage.parts import freeze_parts
from encoders.contract import EMBED_DIM, STRIDE
from encoders.sam import Sam

TEACHER_PASSES = 1
FROZEN_PASSES, LEARNING_PASSES = 2, 3  # forward and back: through frozen weights only the products for their input


def backbone_learns(job: EmbeddingRun | PromptRun) -> bool:
    """Return whether a step goes back through the student's backbone, which is most of its encoder."""
    return not isinstance(job, PromptRun) or job.trainable.backbone > 0


def prompt_tflop(*, image_size: int) -> float:
    """Return the TFLOP that SAM's mask decoder takes for a box."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:  # with gradients, as folded projections are for CPUs
        _decode(_decoder(image_size), _embedding(1, image_size=image_size), prompts=1)
    return counter.get_total_flops() / 1e12


def decoding_tflop(job: PromptRun) -> float:
    """Return the TFLOP that decoding takes for one photo in a step, teacher and student together."""
    prompts, learns = job.prompts, job.trainable.mask_decoder > 0
    passes: float = prompts.rounds * (TEACHER_PASSES + (LEARNING_PASSES if learns else FROZEN_PASSES))
    if prompts.source == "teacher":
        passes += TEACHER_PASSES * prompts.box_share  # a box is of the teacher's mask for a click
    return prompts.per_photo * passes * prompt_tflop(image_size=job.model.image_size)


def decoding_bytes(job: PromptRun) -> int:
    """Return the bytes of activations and gradients that decoding holds for one photo in a step, in fp32."""
    size = job.model.image_size
    with torch.device("meta"):
        sam, embedding = _decoder(size), _embedding(1, image_size=size).requires_grad_()
    freeze_parts(sam, factors=job.trainable.model_dump())
    one, two = (_bytes_of(sam, embedding, prompts=prompts) for prompts in (1, 2))
    shared_left_out = two - one  # the gradients of weights, which all prompts share
    return shared_left_out * job.prompts.per_photo * job.prompts.rounds


def _bytes_of(sam: Sam, embedding: Tensor, *, prompts: int) -> int:
    with torch.device("meta"), LiveBytes() as live:
        _decode(sam, embedding, prompts=prompts).square().mean().backward()
    sam.zero_grad()
    embedding.grad = None
    return live.most


def decoding_loss(job: PromptRun, *, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function of embeddings (B, 256, S/16, S/16) that decodes as often as a step does, for timing it."""
    sam, prompts = _decoder(job.model.image_size).to(device), job.prompts
    freeze_parts(sam, factors=job.trainable.model_dump())

    def loss(embedding: Tensor) -> Tensor:
        count = len(embedding) * prompts.per_photo
        with torch.no_grad():
            if prompts.source == "teacher" and prompts.box_share:
                _decode(sam, embedding, prompts=max(1, round(count * prompts.box_share)))
            targets = [_decode(sam, embedding, prompts=count).sigmoid() for _ in range(prompts.rounds)]
        losses = [nn.functional.mse_loss(_decode(sam, embedding, prompts=count), target) for target in targets]
        return torch.stack(losses).sum()

    return loss


def _decoder(image_size: int) -> Sam:
    return Sam(arch="teacher", image_encoder=nn.Identity(), image_size=image_size)


def _embedding(batch: int, *, image_size: int) -> Tensor:
    return torch.empty(batch, EMBED_DIM, image_size // STRIDE, image_size // STRIDE)


def _decode(sam: Sam, embedding: Tensor, *, prompts: int) -> Tensor:
    """(B, 256, S/16, S/16) -> logits (P, 4, S/4, S/4) of boxes, all alike, spread evenly over the images."""
    size = float(sam.image_size)
    boxes = torch.tensor([size / 4, size / 4, size / 2, size / 2], device=embedding.device).repeat(prompts, 1)
    index = torch.arange(prompts, device=embedding.device) * len(embedding) // prompts
    return sam.decode_all(embedding, image_index=index, boxes=boxes)[0]
