"""The step, the optimizer's groups, and checkpoints, with a real DeepSpeed engine on a small module."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from distill.checkpoints.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from distill.config.deepspeed import read_deepspeed_config
from distill.config.runs import EmbeddingRun
from distill.ema import Ema
from distill.engine import decay_groups, initialize, join_world
from distill.monitoring.monitor import truncate_after
from distill.step import TrainingSteps
from distill.step_stats import StepStats
from encoders.errors import InputError, NonFiniteLoss


class SquareRoot:
    """sum(sqrt(w x)): at x = 0 the loss is finite and its gradient is not."""

    batchnorm_learns = False
    steps_per_epoch = 1
    loss_names = ("root", "square")
    measured_names = ()

    def __init__(self) -> None:
        self.module = nn.Sequential(nn.Linear(3, 2, bias=False))
        nn.init.constant_(self.module[0].weight, 0.5)

    def losses(self, engine, batch):
        return {"root": engine(batch.x).sqrt().sum(), "square": engine(batch.x).square().sum()}

    def parameter_groups(self):
        return [{"params": list(self.module.parameters()), "lr_factor": 1.0}]


def batch(value: float) -> SimpleNamespace:
    return SimpleNamespace(x=torch.full((2, 3), value), keys=["photo-a", "photo-b"])


def config(**changes) -> EmbeddingRun:
    base = {"name": "x", "model": {"arch": "none"}, "teacher": {"model": "none"}, "data": {"cache": "none"}}
    return EmbeddingRun.model_validate(base | {"schedule": {"steps": 3}, "global_batch": 2} | changes)


def engine_of(task, **changes):
    run = config(**changes)
    return initialize(task, run, world=join_world(), settings=read_deepspeed_config(run.deepspeed))


def one_step(engine, task, *batches, clip_grad_norm: float = 1.0) -> StepStats:
    training = TrainingSteps(engine, task, clip_grad_norm=clip_grad_norm)
    training.take(batches)
    return training.read()


def parameters(engine) -> list[torch.Tensor]:
    return [p.detach().clone() for p in engine.module.parameters()]


@pytest.mark.parametrize(("value", "term"), [(float("nan"), "root=nan"), (0.0, "grad_norm=")])
def test_a_non_finite_loss_or_gradient_moves_nothing_and_names_the_samples(value, term):
    task = SquareRoot()
    engine = engine_of(task)
    one_step(engine, task, batch(1.0))
    before = parameters(engine)
    with pytest.raises(NonFiniteLoss, match=f"{term}.*photo-a, photo-b"):
        one_step(engine, task, batch(value))
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(engine), strict=True))


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_steps_after_a_non_finite_one_move_nothing_until_its_samples_are_named(value):
    task = SquareRoot()
    engine = engine_of(task)
    training = TrainingSteps(engine, task, clip_grad_norm=1.0)
    training.take([batch(1.0)])
    before = parameters(engine)
    bad, good = batch(value), batch(2.0)
    good.keys = ["photo-c"]
    for given in (bad, good, good):
        training.take([given])
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(engine), strict=True))
    assert [float(state["step"]) for state in engine.optimizer.state.values()] == [1.0]
    with pytest.raises(NonFiniteLoss) as raised:
        training.read()
    assert raised.value.keys == ["photo-a", "photo-b"]


def test_a_read_after_several_steps_gives_the_numbers_of_the_last():
    one, two = SquareRoot(), SquareRoot()
    every, last = (TrainingSteps(engine_of(task), task, clip_grad_norm=1.0) for task in (one, two))
    for value in (1.0, 2.0, 3.0):
        every.take([batch(value)])
        stats = every.read()
        last.take([batch(value)])
    assert last.read() == stats


def test_a_term_that_a_batch_lacks_counts_as_nothing():
    task = SquareRoot()
    task.loss_names = ("root", "square", "refine")
    engine = engine_of(task)
    stats = one_step(engine, task, batch(1.0))
    assert stats.losses["refine"] == 0.0
    assert stats.total == pytest.approx(stats.losses["root"] + stats.losses["square"])


def test_what_is_measured_is_reported_and_not_learnt():
    task = SquareRoot()
    task.loss_names, task.measured_names = ("square",), ("root",)
    training = TrainingSteps(engine_of(task, optim={"lr": 1e-12}), task, clip_grad_norm=1.0)
    for value in (1.0, 1.0):
        training.take([batch(value)])
    stats = training.read()
    assert stats.losses == pytest.approx({"square": 9.0}) and stats.total == pytest.approx(9.0)
    assert stats.measured == pytest.approx({"root": 2 * 4 * 1.5**0.5})  # of both steps
    assert stats.grad_norm == pytest.approx(6**0.5 * 2 * 3)  # of the square alone; twice (two rows) 3 in 6 weights
    training.take([batch(1.0)])
    assert training.read().measured == pytest.approx({"root": 4 * 1.5**0.5})


def test_a_step_reports_its_terms_and_the_gradient_before_clipping():
    task = SquareRoot()
    engine = engine_of(task, optim={"lr": 0.1})
    stats = one_step(engine, task, batch(1.0), clip_grad_norm=1e-3)
    # each of 4 outputs is 1.5: 4 sqrt(1.5) and 4 * 2.25; d/dy = 1 / (2 sqrt(1.5)) + 3, twice (two rows) in 6 weights
    assert stats.losses == pytest.approx({"root": 4 * 1.5**0.5, "square": 9.0})
    assert stats.total == pytest.approx(sum(stats.losses.values()))
    assert stats.grad_norm == pytest.approx(6**0.5 * 2 * (0.5 / 1.5**0.5 + 3))


def test_clipping_bounds_the_update_of_plain_descent():
    task = SquareRoot()
    engine = engine_of(task, optim={"lr": 0.1})
    one_step(engine, task, batch(1.0), clip_grad_norm=1e-3)
    moment = torch.cat([s["exp_avg"].flatten() for s in engine.optimizer.state_dict()["state"].values()])
    assert float(moment.norm()) == pytest.approx(0.1 * 1e-3, rel=1e-3)  # (1 - beta1) times the clipped gradient


def test_vectors_do_not_decay_and_parts_keep_their_rate():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = decay_groups([{"params": list(module.parameters()), "lr_factor": 0.25}], config=config())
    assert [(g["weight_decay"], g["lr"], len(g["params"])) for g in groups] == [(0.01, 0.00025, 1), (0.0, 0.00025, 3)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('{"gradient_accumulation_steps": 4}', "global_batch 2 does not divide among 1 processes with 4 micro-batches"),
        ('{"gradient_accumulation_steps": "auto"}', "gradient_accumulation_steps: .*valid integer .given: 'auto'"),
        ('{"torch_autocast": {"enabled": true, "dtype": "float16"}}', "casts to float16; expected bfloat16"),
        ('{"bf16": {"enabled": true}}', "enables bf16"),
        ('{"zero_optimization": {"stage": 3}}', "ZeRO stage 3"),
        ("{", "not JSON"),
    ],
)
def test_deepspeed_settings_that_would_train_something_else_are_refused(tmp_path, settings, says):
    (tmp_path / "own.json").write_text(settings)
    with pytest.raises(InputError, match=says):
        engine_of(SquareRoot(), deepspeed=str(tmp_path / "own.json"))


def test_a_checkpoint_brings_module_optimizer_and_average_back(tmp_path):
    def fresh():
        task = SquareRoot()
        engine = engine_of(task, optim={"lr": 0.1})
        return task, engine, Ema(engine.module, decay=0.9)

    def updates(task, engine, ema, count):
        for _ in range(count):
            one_step(engine, task, batch(1.0))
            ema.update()

    task, engine, ema = fresh()
    updates(task, engine, ema, 2)
    save_checkpoint(tmp_path, step=2, engine=engine, ema=ema, data_id="cache", keep=2)
    updates(task, engine, ema, 2)
    task_b, engine_b, ema_b = fresh()
    assert load_checkpoint(tmp_path, engine=engine_b, ema=ema_b, data_id="cache") == 2
    updates(task_b, engine_b, ema_b, 2)
    for there, here in zip(parameters(engine), parameters(engine_b), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-6, atol=0)
    assert ema_b.updates == 4
    torch.testing.assert_close(ema_b.shadow, ema.shadow, rtol=1e-6, atol=0)


def test_only_whole_checkpoints_of_the_same_data_count_and_old_ones_go(tmp_path):
    task = SquareRoot()
    engine = engine_of(task)
    ema = Ema(engine.module, decay=0.0)
    assert load_checkpoint(tmp_path, engine=engine, ema=ema, data_id="cache") == 0
    for step in (90, 100, 110):
        save_checkpoint(tmp_path, step=step, engine=engine, ema=ema, data_id="cache", keep=2)
    (tmp_path / "step_120.tmp").mkdir()  # what a kill leaves
    assert list_checkpoints(tmp_path) == [100, 110]
    with pytest.raises(InputError, match="trained on data cache, the config now names other"):
        load_checkpoint(tmp_path, engine=engine, ema=ema, data_id="other")


def test_metrics_after_the_checkpoint_and_a_torn_line_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 3}\n{"step": 4}\n{"step": 5}\n{"step": 6, "lo')
    truncate_after(path, step=4)
    assert path.read_text() == '{"step": 3}\n{"step": 4}\n'
