"""Losses of the prompt stage between a student's masks and its teacher's."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

import encoders
from distill.config.prompt_stage import PromptLossConfig, PromptsConfig
from distill.config.runs import EmbeddingLossConfig
from distill.prompt_stage.drawing import DrawPrompts
from distill.prompt_stage.model import PromptedStudent
from shards import ShardLoader
from tests.distill.prompt_stage.photos import SIZE


class Fixed(torch.nn.Module):
    """An image encoder that returns a parameter of its own, whatever it sees."""

    image_size = SIZE

    def __init__(self, embedding):
        super().__init__()
        self.embedding = torch.nn.Parameter(embedding.clone())

    def forward(self, image):
        return self.embedding


@pytest.fixture
def batch(annotated_cache):
    config = PromptsConfig(per_photo=4, min_pixels=4)
    draw = DrawPrompts(config, seed=1, image_size=SIZE, truth=True)
    batches = ShardLoader(annotated_cache, batch_size=4, seed=2, records=True, transform=draw).batches()
    yield next(islice(batches, 1))
    batches.close()


def model(embedding, *, teacher=None, embedding_loss=None, mask_loss=None, **prompts):
    sam = encoders.load("sam_demo", image_size=SIZE)
    sam.image_encoder = Fixed(embedding)
    sam.mask_decoder.requires_grad_(False)
    sam.prompt_encoder.requires_grad_(False)
    return PromptedStudent(
        sam,
        teacher=teacher,
        prompts=PromptsConfig(**{"min_score": 0.0} | prompts),
        embedding_loss=embedding_loss,
        mask_loss=mask_loss or PromptLossConfig(),
    )


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_student_with_its_teachers_embedding_has_nothing_to_learn(batch, rounds):
    teacher = batch.photos.to_device("cpu").teacher
    found = {}
    for name, embedding in (("same", teacher), ("mirrored", teacher.flip(-1))):
        student = model(embedding, rounds=rounds, mask_loss=PromptLossConfig(targets="soft"))
        losses = student(batch)
        losses["mask"].backward()
        found[name] = (losses, student.sam.image_encoder.embedding.grad.abs().max())
    (same, at_rest), (mirrored, moving) = found["same"], found["mirrored"]
    assert float(same["iou"].detach()) < 1e-8 and float(mirrored["iou"].detach()) > 1e-5
    assert at_rest < 1e-3 * moving  # each term is least where the soft masks are equal
    assert float(same["mask"].detach()) < float(mirrored["mask"].detach())


def test_gradient_descent_on_the_masks_alone_makes_them_the_teachers(batch):
    teacher = batch.photos.to_device("cpu").teacher
    weights = PromptLossConfig(targets="soft", iou=0.0)  # least where the masks are the teacher's
    start = teacher + 0.3 * torch.randn(teacher.shape, generator=torch.Generator().manual_seed(0))
    student = model(start, mask_loss=weights)
    optimizer = torch.optim.Adam(student.sam.image_encoder.parameters(), lr=0.03)
    seen = []
    for _ in range(8):
        losses = student(batch)
        losses["mask"].backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(float(losses["mask"].detach()))
    floor = float(model(teacher, mask_loss=weights)(batch)["mask"].detach())
    assert floor < seen[-1] and seen[-1] - floor < 0.5 * (seen[0] - floor)


def test_annotated_masks_are_compared_as_they_are_whatever_the_targets(batch):
    teacher = batch.photos.to_device("cpu").teacher
    alone = {"teacher": 0.0, "truth": 1.0, "iou": 0.0}
    losses = [model(teacher, mask_loss=PromptLossConfig(targets=kind, **alone))(batch) for kind in ("soft", "hard")]
    assert float(losses[0]["truth"].detach()) == pytest.approx(float(losses[1]["truth"].detach()), rel=1e-6)


def test_terms_of_weight_0_are_left_out_and_the_embedding_is_one_of_them(batch):
    teacher = batch.photos.to_device("cpu").teacher
    weights = PromptLossConfig(teacher=0.0, truth=2.0, iou=0.0)
    losses = model(teacher + 1, embedding_loss=EmbeddingLossConfig(mse=3.0), mask_loss=weights)(batch)
    assert set(losses) == {"mse", "truth", "boxes_drawn", "boxes_kept"}
    assert float(losses["mse"].detach()) == pytest.approx(3.0, rel=1e-4)


def test_hard_targets_are_the_masks_and_not_their_probabilities(batch):
    teacher = batch.photos.to_device("cpu").teacher
    values = {}
    for targets in ("soft", "hard"):
        weights = PromptLossConfig(targets=targets, bce=0.0, focal=0.0, dice=1.0, iou=0.0)
        values[targets] = float(model(teacher, mask_loss=weights)(batch)["mask"].detach())
    assert values["soft"] == pytest.approx(0, abs=1e-5) and values["hard"] > 0.01
    sharp = model(teacher, mask_loss=PromptLossConfig(targets="hard", bce=1.0, dice=0.0, iou=0.0))
    losses = sharp(batch)
    losses["mask"].backward()
    assert sharp.sam.image_encoder.embedding.grad.abs().max() > 0  # a teacher is never as sure as its own hard mask


def test_a_round_without_the_logits_of_the_one_before_gives_other_masks(batch):
    teacher = batch.photos.to_device("cpu").teacher.flip(-1)
    losses = [float(model(teacher, rounds=2, feed_logits=fed)(batch)["mask"].detach()) for fed in (True, False)]
    first = float(model(teacher)(batch)["mask"].detach())
    assert losses[0] != losses[1] and first not in losses


def test_prompts_without_a_true_mask_do_not_count_for_truth(batch):
    teacher = batch.photos.to_device("cpu").teacher
    weights = PromptLossConfig(teacher=0.0, truth=1.0, iou=0.0)
    prompts = batch.prompts
    none = replace(batch, prompts=replace(prompts, annotated=torch.zeros_like(prompts.annotated)))
    assert float(model(teacher, mask_loss=weights)(none)["truth"].detach()) == 0


def test_a_box_of_a_mask_that_the_teacher_is_unsure_of_is_not_learnt(annotated_cache):
    draw = DrawPrompts(PromptsConfig(source="teacher", box_share=1.0), seed=1, image_size=SIZE, truth=False)
    batches = ShardLoader(annotated_cache, batch_size=4, seed=2, records=True, transform=draw).batches()
    batch = next(batches)
    batches.close()
    embedding = torch.zeros_like(batch.photos.to_device("cpu").teacher)
    sure, unsure = (model(embedding, min_score=score)(batch) for score in (0.0, 1.0))
    assert float(sure["mask"].detach()) > 0 and float(unsure["mask"].detach()) == 0
    assert float(sure["boxes_drawn"]) == float(unsure["boxes_drawn"]) == batch.prompts.drawn > 0
    assert 0 < float(sure["boxes_kept"]) <= batch.prompts.drawn and float(unsure["boxes_kept"]) == 0


def test_a_trained_decoder_is_compared_with_the_teachers_own(batch):
    teacher = encoders.load("sam_demo", image_size=SIZE)
    embedding = batch.photos.to_device("cpu").teacher
    student = model(embedding, teacher=teacher)
    assert float(student(batch)["iou"].detach()) < 1e-8
    with torch.no_grad():
        student.sam.mask_decoder.iou_prediction_head.layers[-1].bias += 1
    assert float(student(batch)["iou"].detach()) == pytest.approx(1.0, rel=1e-3)
