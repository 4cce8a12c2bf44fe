"""The shipped configs: each can be run, and what the headers of SA-1B's recipes calculate is what they say."""

import math
import re

import pytest
import yaml

import encoders
from distill.config.deepspeed import read_deepspeed_config
from distill.config.folder import CONFIGS
from distill.config.reading import read_config, read_run
from distill.config.runs import EmbeddingRun, PrecomputeConfig, PromptRun
from distill.jobs.planning.compute_cost import STEP_PASSES, forward_tflop
from distill.jobs.planning.gpu_rates import GPUS

FILES = sorted(CONFIGS.glob("*.yaml"))
GPUS_OF = {"": 1, "_8gpu": 8, "_2x8gpu": 16}
RECIPES = [(arch, suffix) for arch in ("m2_3", "m1_1") for suffix in GPUS_OF]


def recipe(arch: str, suffix: str) -> tuple[str, EmbeddingRun]:
    path = CONFIGS / f"distill_repvit_{arch}_sa1b{suffix}.yaml"
    run = read_run(path)
    assert isinstance(run, EmbeddingRun)
    return path.read_text(), run


def test_every_shipped_config_is_read():
    assert len(FILES) == 33
    for path in FILES:
        if "source" in yaml.safe_load(path.read_text()):
            read_config(path, PrecomputeConfig)
        else:
            read_deepspeed_config(read_run(path).deepspeed)


def test_what_repvit_sam_published_is_in_its_recipe():
    """RepViT CVPR 4.2: RepViT-M2.3, 8 epochs, MobileSAM's setting; MobileSAM, table 4 and section 3.2: batch 8, MSE."""
    _, run = recipe("m2_3", "")
    assert (run.model.arch, run.model.image_size, run.schedule.epochs, run.global_batch) == ("repvit_m2_3", 1024, 8, 8)
    assert (run.loss.mse, run.loss.cosine) == (1.0, 0.0)


@pytest.mark.parametrize(("arch", "suffix"), RECIPES)
def test_larger_batches_follow_the_stated_rules(arch, suffix):
    text, run = recipe(arch, suffix)
    gpus = GPUS_OF[suffix]
    assert run.global_batch == 8 * gpus and run.deepspeed == "bf16" and "not run yet" in text
    assert run.optim.lr == pytest.approx(0.001 * math.sqrt(gpus), rel=1e-3)
    assert run.schedule.warmup_steps * gpus == pytest.approx(1000, rel=0.01)
    assert (1 - run.ema.decay) / gpus == pytest.approx(1e-4)
    if gpus > 1:
        assert f"sqrt({run.global_batch} / 8) = {run.optim.lr:.5f}" in text


WITH_SPEED = [(path, gpus) for path in FILES for gpus in [GPUS_OF.get(path.stem.partition("sa1b")[2], 1)]]


@pytest.mark.parametrize(("path", "gpus"), [one for one in WITH_SPEED if "photos/s, and" in one[0].read_text()])
def test_the_speeds_in_the_headers_are_their_arithmetic(path, gpus):
    run, text = read_run(path), path.read_text()
    step = STEP_PASSES * forward_tflop(run.model.arch, image_size=run.model.image_size)
    low, high = map(int, re.findall(r"= (\d+) to (\d+) photos/s", text)[0])
    assert (low, high) == pytest.approx((34 / step * gpus, 68 / step * gpus), rel=0.01)


def test_every_size_of_repvit_has_a_recipe_by_the_rules_of_the_published_one():
    sizes = [name for name in encoders.list_models() if name.startswith("repvit_")]
    assert len(sizes) == 6
    published = recipe("m2_3", "")[1].model_dump(exclude={"name", "model"})
    for size in sizes:
        _, run = recipe(size.removeprefix("repvit_"), "")
        assert run.model.arch == size and run.model_dump(exclude={"name", "model"}) == published


def test_what_edgesam_published_is_in_its_recipes():
    """Its public training configs: learning rates by its rule for the batch, clipping, rounds, prompts and weights."""
    first, second = read_run(CONFIGS / "edgesam_stage1_sa1b.yaml"), read_run(CONFIGS / "edgesam_stage2_sa1b.yaml")
    assert first.optim.lr == pytest.approx(0.1 * first.global_batch / 512)
    assert first.optim.lr * first.schedule.min_lr_ratio == pytest.approx(5e-6 * 64 / 512)
    assert first.schedule.warmup_steps == pytest.approx(5 * 111_000 / first.global_batch, abs=1)
    assert isinstance(second, PromptRun) and second.loss is None
    assert second.optim.lr == pytest.approx(3.2e-3 * second.global_batch / 512)
    assert (second.prompts.rounds, second.prompts.per_photo, second.prompts.feed_logits) == (2, 16, False)
    weights = second.mask_loss
    assert (weights.targets, weights.bce, weights.dice, weights.iou, weights.truth) == ("hard", 5.0, 5.0, 0.0, 0.0)
    assert second.trainable.mask_decoder == 1.0 and second.trainable.prompt_encoder == 0.0


def test_what_efficientsam3_published_is_in_its_second_recipe_and_what_is_not_is_said():
    """Its public `losses.py` and training config of the geometry stage."""
    path = CONFIGS / "efficientsam3_stage2_sa1b.yaml"
    run = read_run(path)
    assert isinstance(run, PromptRun) and run.loss is not None and run.loss.mse == 1.0
    weights = run.mask_loss
    assert (weights.targets, weights.bce, weights.dice, weights.iou, weights.truth) == ("soft", 1.0, 1.0, 0.5, 0.0)
    differs = path.read_text().split("Differs: ")[1]
    assert "cross-entropy" in differs and "dice" in differs


def test_the_teachers_speeds_in_the_header_are_their_arithmetic():
    text = (CONFIGS / "precompute_sa1b_vit_h.yaml").read_text()
    assert read_config("precompute_sa1b_vit_h", PrecomputeConfig).teacher.precision == "bf16" and "Not run yet" in text
    flop = forward_tflop("sam_vit_h", image_size=1024)
    for name, gpu in GPUS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"#   {name.upper()}: "))
        rates = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) \(", line)]
        assert rates == pytest.approx([count * gpu.teacher_tflops("bf16") / flop for count in (1, 8, 16)], rel=0.01)
