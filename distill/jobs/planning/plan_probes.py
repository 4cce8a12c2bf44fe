"""Short measurements on this machine for a plan."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice

import torch

from distill.config.models import load_teacher
from distill.config.runs import EmbeddingRun, PrecomputeConfig, PromptRun
from distill.embedding_task import LAYOUT, cache_loader
from distill.jobs.planning.decoding import backbone_learns, decoding_loss
from distill.launching.world import read_world
from distill.prompt_stage.task import prompt_loader
from encoders.acceleration import accelerate
from encoders.registry import build_image_encoder

STEPS = 3  # timed; one before them is not


def teacher_photos_per_second(job: PrecomputeConfig, *, image_size: int) -> float:
    """Return the rate of a job's teacher on this process's device, on batches of noise."""
    device = read_world().device
    teacher = load_teacher(job.teacher).to(device)
    encoder = accelerate(teacher, precision=job.teacher.precision, compiled=job.teacher.compile).image_encoder
    image = _noise(job.batch_size, image_size=image_size, device=device)
    with torch.inference_mode():
        return len(image) / _seconds(lambda: encoder(image), device)


def student_photos_per_second(job: EmbeddingRun | PromptRun, *, batch: int, autocast: bool) -> float:
    """Return the rate of a student's forward and backward passes on this process's device, with random weights."""
    device, size = read_world().device, job.model.image_size
    student = build_image_encoder(job.model.arch, image_size=size).to(device).to(memory_format=LAYOUT).train()
    image = _noise(batch, image_size=size, device=device).to(memory_format=LAYOUT)
    decoded = decoding_loss(job, device=device) if isinstance(job, PromptRun) else None
    learns = backbone_learns(job)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext():
            with torch.set_grad_enabled(learns):
                embedding = student(image).float()
            if not learns:
                embedding.requires_grad_()
            loss = embedding.square().mean()
            if decoded is not None:
                loss = loss + decoded(embedding)
        loss.backward()
        student.zero_grad()

    return batch / _seconds(step, device)


def loader_seconds(job: EmbeddingRun | PromptRun, *, batch: int) -> float:
    """Return the seconds that one process takes to read and decode a sample, augment it, and draw its prompts."""
    here = job.model_copy(update={"data": job.data.model_copy(update={"num_workers": 0})})
    opened = prompt_loader if isinstance(here, PromptRun) else cache_loader
    loader = opened(here, batch_size=batch, rank=0, world_size=1)  # type: ignore[arg-type]
    batches = loader.batches(0)
    next(batches)
    begin, count = time.perf_counter(), max(1, 16 // batch)
    for _ in islice(batches, count):
        pass
    return (time.perf_counter() - begin) / count / batch


def _noise(batch: int, *, image_size: int, device: torch.device) -> torch.Tensor:
    """(B, 3, S, S) float32; zeros would be quicker or, where numbers become too small to be normal, far slower than photos."""
    return torch.randn(batch, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    step()
    begin = _now(device)
    for _ in range(STEPS):
        step()
    return (_now(device) - begin) / STEPS


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
