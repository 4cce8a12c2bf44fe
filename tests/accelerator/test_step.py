"""An update by the real DeepSpeed engine on a pretended GPU: it waits for nothing, and keeps few books."""

from types import SimpleNamespace

import pytest
import torch

import encoders
from distill.config.deepspeed import read_deepspeed_config
from distill.config.runs import EmbeddingRun
from distill.ema import Ema
from distill.engine import import_deepspeed, initialize, join_world
from distill.losses import embedding_losses
from distill.step import TrainingSteps
from tests.accelerator.pretend import CUDA, on_gpu, pretended_gpu
from tests.accelerator.test_batches import SIZE, made_batch

SETTINGS = {
    "name": "x",
    "model": {"arch": "none"},
    "teacher": {"model": "none"},
    "data": {"cache": "none"},
    "loss": {"mse": 1.0, "cosine": 0.5},
    "schedule": {"steps": 3},
    "global_batch": 3,
}
RUN = EmbeddingRun.model_validate(SETTINGS)


class Student:
    """The embedding stage without its cache."""

    batchnorm_learns = True
    steps_per_epoch = 1
    loss_names = ("mse", "cosine")
    measured_names = ()
    manifest = None

    def __init__(self, arch):
        torch.manual_seed(0)
        self.module = encoders.build_image_encoder(arch, image_size=SIZE)

    def losses(self, engine, batch):
        there = batch.to_device(next(engine.parameters()).device)
        return embedding_losses(engine(there.image), there.teacher, there.valid, weights=RUN.loss)

    def parameter_groups(self):
        return [{"params": list(self.module.parameters()), "lr_factor": 1.0}]


@pytest.fixture
def engine_on(monkeypatch):
    """Starts DeepSpeed's engine on the CPU, or as if this process had a GPU."""
    join_world()
    deepspeed = import_deepspeed()

    def start(task, device):
        if device == CUDA:
            accelerator = deepspeed.accelerator.get_accelerator()
            monkeypatch.setattr(accelerator, "device_name", lambda index=None: "cuda:0")
            monkeypatch.setattr(accelerator, "current_device_name", lambda: "cuda:0")
            monkeypatch.setattr(deepspeed.DeepSpeedEngine, "_broadcast_model", lambda self: None)  # gloo knows no GPU
            on_gpu(task.module)
        world = SimpleNamespace(device=device, world_size=1, rank=0)
        return initialize(task, RUN, world=world, settings=read_deepspeed_config("zero0"))

    return start


def updates(engine, task, batch, counts=None):
    """Two updates; the statistics after each, and what the second launched and waited for, apart from its reading."""
    engine.train()
    ema, training = Ema(engine.module, decay=0.9), TrainingSteps(engine, task, clip_grad_norm=1.0)
    stats, kernels, waited = [], 0, 0
    for _ in range(2):
        kernels, waited = (0, 0) if counts is None else (counts.launched, counts.waited)
        training.take([batch])
        ema.update()
        kernels, waited = (0, 0) if counts is None else (counts.launched - kernels, counts.waited - waited)
        stats.append(training.read())
    return stats, kernels, waited, ema


def test_an_update_waits_for_nothing_and_equals_the_cpus(engine_on):
    here, there = Student("repvit_m0_6"), Student("repvit_m0_6")
    expected, *_, average = updates(engine_on(here, torch.device("cpu")), here, made_batch("int8"))
    with pretended_gpu() as counts:
        engine = engine_on(there, CUDA)
        assert engine.device == CUDA
        found, _, waited, other = updates(engine, there, made_batch("int8").pin_memory(), counts)
        shadow = {name: value.cpu() for name, value in other.shadow.items()}
    assert waited == 0, counts
    for one, two in zip(found, expected, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=1e-4)
        assert one.grad_norm == pytest.approx(two.grad_norm, rel=1e-3)
    for name, value in average.shadow.items():  # convolutions differ by rounding, which AdamW scales up to its rate
        torch.testing.assert_close(shadow[name], value, rtol=1e-3, atol=2.5 * RUN.optim.lr)


def test_the_books_of_an_update_take_less_than_a_twentieth_of_its_kernels(engine_on):
    """For M2.3. Before they were written for a GPU, they took 3,870 kernels beside the 1,951 of forward and backward."""
    task = Student("repvit_m2_3")
    with pretended_gpu() as counts:
        engine = engine_on(task, CUDA)
        batch = made_batch("int8").pin_memory()
        _, kernels, waited, _ = updates(engine, task, batch, counts)
        before = counts.launched
        engine.backward(sum(task.losses(engine, batch).values()))
        learning = counts.launched - before
        optimizer = sum(counts.kernels[name] for name in ("_fused_adamw_", "_foreach_add_", "_foreach_sub_")) // 2
    assert waited == 0
    assert kernels - learning - optimizer <= 0.05 * kernels, (kernels, learning, optimizer)
