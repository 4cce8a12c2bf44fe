"""The prompt stage's forward and backward pass on a pretended GPU."""

from itertools import islice

import pytest
import torch

import encoders
from distill.config.prompt_stage import PromptLossConfig, PromptsConfig
from distill.config.runs import EmbeddingLossConfig
from distill.prompt_stage.drawing import DrawPrompts
from distill.prompt_stage.model import PromptedStudent
from shards import ShardLoader
from tests.accelerator.training_step import check_step
from tests.distill.prompt_stage.photos import SIZE

PROMPTS = PromptsConfig(per_photo=4, min_pixels=4, min_score=0.1, rounds=2)


def student(*, decoder_learns, targets):
    torch.manual_seed(0)
    sam = encoders.build_sam("repvit_m0_6", image_size=SIZE)
    teacher = encoders.load("sam_demo", image_size=SIZE)
    sam.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())
    teacher.image_encoder = torch.nn.Identity()
    return PromptedStudent(
        sam,
        teacher=teacher.requires_grad_(False) if decoder_learns else None,
        prompts=PROMPTS,
        embedding_loss=EmbeddingLossConfig(),
        mask_loss=PromptLossConfig(targets=targets, focal=1.0, truth=0.5),
    ).train()


def some_batch(cache):
    draw = DrawPrompts(PROMPTS, seed=1, image_size=SIZE, truth=True)
    batches = ShardLoader(cache, batch_size=8, seed=2, records=True, transform=draw).batches()
    (batch,) = islice(batches, 1)
    batches.close()
    assert batch.prompts.drawn and batch.prompts.boxed > batch.prompts.drawn
    return batch


@pytest.mark.parametrize(("decoder_learns", "targets"), [(False, "hard"), (True, "hard"), (False, "soft")])
def test_a_step_waits_for_nothing_and_its_losses_are_the_cpus(annotated_cache, decoder_learns, targets):
    here, there = (student(decoder_learns=decoder_learns, targets=targets) for _ in range(2))
    check_step(here, there, lambda: some_batch(annotated_cache), rel=1e-3)
