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
from tests.accelerator.pretend import CUDA, on_gpu, pretended_gpu
from tests.distill.prompt_stage.photos import SIZE

PROMPTS = PromptsConfig(per_photo=4, min_pixels=4, min_score=0.1, rounds=2)


def student(*, decoder_learns):
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
        mask_loss=PromptLossConfig(focal=1.0, truth=0.5),
    ).train()


def some_batch(cache):
    draw = DrawPrompts(PROMPTS, seed=1, image_size=SIZE, truth=True)
    batches = ShardLoader(cache, batch_size=8, seed=2, records=True, transform=draw).batches()
    (batch,) = islice(batches, 1)
    batches.close()
    assert batch.prompts.drawn and batch.prompts.boxed > batch.prompts.drawn
    return batch


@pytest.mark.parametrize("decoder_learns", [False, True])
def test_a_step_waits_for_nothing_and_its_losses_are_the_cpus(annotated_cache, decoder_learns):
    here, there = student(decoder_learns=decoder_learns), student(decoder_learns=decoder_learns)
    expected = here(some_batch(annotated_cache))
    sum(expected.values()).backward()
    with pretended_gpu() as counts:
        batch = some_batch(annotated_cache).pin_memory()
        on_gpu(there)
        there(batch)  # the first step also copies constants to the device
        waited = counts.waited
        found = there(batch)
        sum(found.values()).backward()
        assert counts.waited == waited, counts
        assert {name: loss.device for name, loss in found.items()} == dict.fromkeys(expected, CUDA)
        values = {name: float(loss.detach()) for name, loss in found.items()}
    assert values == pytest.approx({name: float(loss.detach()) for name, loss in expected.items()}, rel=1e-3)
    gradients = [parameter.grad for parameter in there.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.device == CUDA for gradient in gradients)
