"""A run of the prompt stage by the command."""

import json
import shutil

import pytest
import torch
import yaml

import encoders
from distill.config.runs import PromptRun
from distill.prompt_stage.task import PromptTask


@pytest.fixture
def written(tmp_path, prompt_settings):
    def write(**changes):
        path = tmp_path / "prompted.yaml"
        path.write_text(yaml.safe_dump(prompt_settings | {"out": str(tmp_path / "run")} | changes))
        return path

    return write


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_from_a_cache_to_a_student_with_its_teachers_decoder(command, written, tmp_path):
    code, _, error = command("distill", "--config", written())
    assert code == 0, error
    assert all(line[name] > 0 for line in metrics(tmp_path / "run") for name in ("mse", "mask", "truth", "iou"))
    student, teacher = encoders.load(tmp_path / "run"), encoders.load("sam_demo", image_size=64)
    for name, tensor in teacher.mask_decoder.state_dict().items():
        assert torch.equal(student.mask_decoder.state_dict()[name], tensor)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["stage"] == "prompt" and facts["teacher"] == "sam_demo"


def test_it_starts_from_an_earlier_student_and_may_train_the_decoder(command, written, tmp_path, undisturbed):
    model = {"arch": "repvit_m0_6", "image_size": 64, "init": str(undisturbed)}
    changes = {"trainable": {"backbone": 0.0, "neck": 0.0, "mask_decoder": 0.1}, "ema": {"decay": 0.0}}
    code, _, error = command("distill", "--config", written(model=model, **changes))
    assert code == 0, error
    before, after = encoders.load(undisturbed), encoders.load(tmp_path / "run")
    encoder = after.image_encoder.state_dict()
    for name, old in before.image_encoder.state_dict().items():  # BatchNorm's statistics too
        assert torch.equal(old, encoder[name]), name
    assert not torch.equal(before.mask_decoder.mask_tokens.weight, after.mask_decoder.mask_tokens.weight)
    assert torch.equal(before.prompt_encoder.no_mask_embed.weight, after.prompt_encoder.no_mask_embed.weight)


@pytest.mark.parametrize("backbone", [0.0, 1.0])
def test_a_frozen_backbone_keeps_its_statistics(prompt_settings, tmp_path, backbone):
    trainable = {"backbone": backbone, "neck": 1.0}
    config = PromptRun.model_validate(prompt_settings | {"out": str(tmp_path), "trainable": trainable})
    task = PromptTask(config, batch_size=2, rank=0, world_size=1)
    assert task.batchnorm_learns == (backbone > 0)
    before = {name: value.clone() for name, value in task.image_encoder.named_buffers() if "running" in name}
    task.module.train()
    task.image_encoder(torch.randn(2, 3, 64, 64))
    kept = [torch.equal(value, before[name]) for name, value in task.image_encoder.named_buffers() if "running" in name]
    assert kept and (all(kept) if backbone == 0 else not any(kept))


def test_a_run_that_lost_its_last_checkpoint_comes_to_the_same_weights_again(command, written, tmp_path):
    assert command("distill", "--config", written())[0] == 0
    whole = encoders.load(tmp_path / "run").state_dict()
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step_6")
    for name in ("encoder.safetensors", "decoder.safetensors", "run.json"):
        (tmp_path / "run" / name).unlink()
    code, _, error = command("distill", "--config", written())
    assert code == 0 and "4 of 6 steps are done" in error
    again = encoders.load(tmp_path / "run").state_dict()
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_teacher_too_unsure_for_its_boxes_is_said_once_and_is_no_loss(command, written, prompt_settings, tmp_path):
    unsure = {"source": "teacher", "per_photo": 20, "min_score": 1.0, "box_share": 1.0}
    weights = {"mask_loss": {"truth": 0.0}, "log": {"every_steps": 1}}
    code, _, error = command("distill", "--config", written(prompts=unsure, **weights))
    assert code == 0, error
    assert error.count("fewer than 25 % of the boxes") == 1 and "below prompts.min_score (1)" in error
    batch = prompt_settings["global_batch"]
    for line in metrics(tmp_path / "run"):
        assert line["boxes_drawn"] == 20 * batch and line["boxes_kept"] == 0
        assert line["loss"] == pytest.approx(line["mse"] + line["mask"] + line["iou"])


def test_boxes_are_counted_until_there_are_enough_to_tell(prompt_settings, tmp_path):
    task = PromptTask(PromptRun.model_validate(prompt_settings | {"out": str(tmp_path)}), batch_size=2, rank=0, world_size=1)
    assert task.remark({"boxes_drawn": 150.0, "boxes_kept": 0.0}) is None
    assert task.remark({"boxes_drawn": 0.0, "boxes_kept": 0.0}) is None  # a batch with annotations only
    assert task.remark({"boxes_drawn": 50.0, "boxes_kept": 50.0}) is None  # exactly a quarter
    assert "fewer than 25 %" in task.remark({"boxes_drawn": 10.0, "boxes_kept": 0.0})
    assert task.remark({"boxes_drawn": 1000.0, "boxes_kept": 900.0}) is None


@pytest.mark.slow  # 20 s: three processes start
def test_two_processes_train_as_one_does(command, start, written, tmp_path):
    """Within 2e-3, and 1e-4 at the first step: sums over a batch are added up in another order, and AdamW makes more of it."""
    changes = {"optim": {"lr": 0.0001}, "schedule": {"steps": 4, "warmup_steps": 1}}
    assert command("distill", "--config", written(**changes))[0] == 0
    process = start("distill", "--config", written(**changes), "--set", f"out={tmp_path / 'two'}", "--num-processes", 2)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    one, two = (metrics(tmp_path / name) for name in ("run", "two"))
    for here, there in zip(one, two, strict=True):
        for name in ("step", "loss", "mse", "mask", "truth", "iou", "grad_norm"):
            assert there[name] == pytest.approx(here[name], rel=1e-4 if here["step"] == 1 else 2e-3), (here["step"], name)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mask_loss": {"teacher": 0.0}}, "stage: embedding"),
        ({"mask_loss": {"bce": 0.0, "dice": 0.0}}, "no mask is learnt"),
        ({"trainable": {"backbone": 0.0, "neck": 0.0}}, "nothing that learns"),
        ({"prompts": {"rounds": 0}}, "prompts.rounds"),
        ({"prompts": {"source": "teacher"}, "mask_loss": {"truth": 0.5}}, "needs annotated masks"),
        ({"stage": "prompts"}, "did you mean"),
    ],
)
def test_a_config_that_cannot_learn_is_refused(command, written, changes, named):
    code, _, error = command("distill", "--config", written(**changes))
    assert code == 2 and named in error and "Traceback" not in error
