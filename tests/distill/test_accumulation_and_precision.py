"""What a DeepSpeed config may change about an update: micro-batches and precision."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import encoders
from distill.config.deepspeed import read_deepspeed_config
from distill.config.runs import EmbeddingRun
from distill.engine import initialize, join_world, micro_batch
from distill.launching.world import World
from distill.step import TrainingSteps
from distill.step_stats import StepStats
from encoders.errors import NonFiniteLoss
from shards import ShardLoader


class Regression:
    """A module learns to give the given numbers."""

    batchnorm_learns = False
    steps_per_epoch = 1
    loss_names = ("mse",)
    measured_names = ()

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def losses(self, engine, batch):
        return {"mse": (engine(batch.x).float() - batch.y).square().mean()}

    def parameter_groups(self):
        return [{"params": list(self.module.parameters()), "lr_factor": 1.0}]


def config(**changes) -> EmbeddingRun:
    base = {"name": "x", "model": {"arch": "none"}, "teacher": {"model": "none"}, "data": {"cache": "none"}}
    return EmbeddingRun.model_validate(base | {"schedule": {"steps": 3}, "global_batch": 6} | changes)


def engine_of(task, run: EmbeddingRun):
    return initialize(task, run, world=join_world(), settings=read_deepspeed_config(run.deepspeed))


def train_step(engine, task, batches) -> StepStats:
    training = TrainingSteps(engine, task, clip_grad_norm=1.0)
    training.take(batches)
    return training.read()


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def rows(first: int, last: int) -> SimpleNamespace:
    """Rows first .. last - 1 of always the same six samples."""
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(6, 3, generator=generator), torch.randn(6, 2, generator=generator)
    return SimpleNamespace(x=x[first:last], y=y[first:last], keys=[f"photo-{row}" for row in range(first, last)])


@pytest.fixture
def three_micro_batches(tmp_path):
    """A config that takes a global batch of six in three parts."""
    settings = {"gradient_accumulation_steps": 3}
    (tmp_path / "three.json").write_text(json.dumps(settings))
    return config(deepspeed=str(tmp_path / "three.json"), optim={"lr": 0.1})


def test_three_micro_batches_make_the_update_of_one_batch(three_micro_batches):
    settings = read_deepspeed_config(three_micro_batches.deepspeed)
    assert micro_batch(three_micro_batches, world=World(), settings=settings) == 2
    whole, parts = Regression(linear()), Regression(linear())
    whole_engine = engine_of(whole, config(optim={"lr": 0.1}))
    parts_engine = engine_of(parts, three_micro_batches)
    for _ in range(2):
        one = train_step(whole_engine, whole, [rows(0, 6)])
        three = train_step(parts_engine, parts, [rows(0, 2), rows(2, 4), rows(4, 6)])
        assert three.losses == pytest.approx(one.losses, rel=1e-5)
        assert (three.total, three.grad_norm) == pytest.approx((one.total, one.grad_norm), rel=1e-5)
    torch.testing.assert_close(parts.module.state_dict(), whole.module.state_dict(), rtol=1e-4, atol=1e-6)


def test_micro_batches_hold_the_samples_of_the_whole_batch_in_order(tiny_cache):
    whole, parts = ShardLoader(tiny_cache, batch_size=6), ShardLoader(tiny_cache, batch_size=2)
    for step in range(5):  # into the third epoch
        assert [key for part in range(3) for key in parts.keys(3 * step + part)] == whole.keys(step)


def test_a_nan_in_the_last_micro_batch_moves_nothing_and_names_its_samples_alone(three_micro_batches):
    task = Regression(linear())
    engine = engine_of(task, three_micro_batches)
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    bad = rows(4, 6)
    bad.x = bad.x * float("nan")
    with pytest.raises(NonFiniteLoss) as raised:
        train_step(engine, task, [rows(0, 2), rows(2, 4), bad])
    assert raised.value.keys == ["photo-4", "photo-5"]
    assert all(torch.equal(value, before[name]) for name, value in task.module.state_dict().items())


def test_bf16_computes_convolutions_in_bfloat16_and_keeps_weights_and_batchnorm_in_float32():
    torch.manual_seed(0)
    encoder = encoders.build_image_encoder("repvit_m0_6", image_size=64)
    task = Regression(encoder)
    engine = engine_of(task, config(deepspeed="bf16"))
    seen: dict[type, set[torch.dtype]] = {nn.Conv2d: set(), nn.BatchNorm2d: set()}
    for module in engine.module.modules():
        if type(module) in seen:
            module.register_forward_hook(lambda module, given, out: seen[type(module)].add(out.dtype) or None)
    batch = SimpleNamespace(x=torch.randn(2, 3, 64, 64), y=torch.randn(2, 256, 4, 4), keys=["photo-a", "photo-b"])
    engine.train()
    first = train_step(engine, task, [batch])
    second = train_step(engine, task, [batch])
    assert seen[nn.Conv2d] == {torch.bfloat16}
    assert {value.dtype for value in engine.module.state_dict().values()} == {torch.float32, torch.int64}
    assert {value.dtype for state in engine.optimizer.state.values() for value in state.values()} == {torch.float32}
    assert second.total < first.total
