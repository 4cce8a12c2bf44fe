"""What a plan says beforehand: its arithmetic by hand, where its numbers are from, and what it refuses."""

import json

import pytest
import torch

from distill.cli.plan import plan
from distill.jobs.planning.compute_cost import LiveBytes, activation_bytes, forward_tflop, parameter_count
from distill.jobs.planning.decoding import prompt_tflop
from distill.jobs.planning.gpu_rates import GPUS, get_gpu
from distill.jobs.sample_data import resolve_data
from encoders.errors import InputError
from shards import Manifest, open_source
from shards.pipeline.estimate import measure_photos

SAMPLE = ["source.path=sample:val", "source.views=1"]


def figures(capsys, **options):
    plan(json_=True, **options)
    found = json.loads(capsys.readouterr().out)
    assert {figure["how"] for figure in found["figures"]} == {"measured here", "by arithmetic"}
    return {figure["name"]: figure["value"] for figure in found["figures"]}, found["bottleneck"]


def test_the_assumed_shares_give_the_estimates_for_eight_gpus():
    flop = forward_tflop("sam_vit_h", image_size=1024)
    assert flop == pytest.approx(5.97, abs=0.01)
    rates = {(name, kind): 8 * gpu.teacher_tflops(kind) / flop for name, gpu in GPUS.items() for kind in ("fp32", "bf16")}
    expected = {("a100", "fp32"): 21, ("a100", "bf16"): 200, ("h100", "fp32"): 55, ("h100", "bf16"): 520}
    assert rates == pytest.approx(expected, rel=0.02)
    assert 3 * forward_tflop("repvit_m2_3", image_size=1024) == pytest.approx(0.68, abs=0.001)
    assert get_gpu("a100").student_tflops("fp32") == pytest.approx(0.8 * 19.5)  # never more than the teacher's share


def test_bytes_that_live_together_are_counted_once_and_freed():
    with torch.device("meta"):
        start = torch.empty(100)
    with LiveBytes() as live:
        kept = start + 1  # 400 bytes
        kept.view(10, 10).add_(1)  # no new memory
        for _number in range(3):
            made = kept * 2  # 400 bytes; those before go at the assignment
    assert made.shape == (100,) and live.most == 400 * 3  # a new product is made before the old one goes
    small = activation_bytes("repvit_m0_6", image_size=128, batch=1, training=False)
    assert small < activation_bytes("repvit_m0_6", image_size=128, batch=1, training=True)
    assert parameter_count("repvit_m2_3", image_size=1024) == 23_158_920


def test_a_plan_of_a_precompute_is_its_parts(capsys, tmp_path):
    given = ["teacher.model=sam_vit_b", "teacher.image_size=256", "decode_workers=3", f"out={tmp_path / 'none'}"]
    found, limit = figures(capsys, config="quickstart_precompute", set_=[*SAMPLE, *given], gpu="a100", gpus=4)
    feed = 3 / (found["reading"] + found["coding"]) * 1e3
    assert found["photos"] == 32 and found["feeding"] == pytest.approx(feed)
    assert found["teacher"] == pytest.approx(19.5 * 0.8 / forward_tflop("sam_vit_b", image_size=256))
    assert found["together"] == pytest.approx(4 * min(feed, found["teacher"]))
    assert found["time"] == pytest.approx(32 / found["together"] / 3600)
    assert limit.startswith("the teacher" if found["teacher"] < feed else "reading and coding")
    assert not (tmp_path / "none").exists()


def test_a_plan_of_a_distillation_is_its_parts(capsys, tmp_path):
    options = {"config": "distill_repvit_m1_1_sa1b_8gpu", "set_": [f"data.cache={tmp_path}"], "gpu": "h100"}
    found, limit = figures(capsys, **options, gpus=8, photos=111_000)
    assert found["updates"] == 8 * 111_000 / 64
    assert found["student"] == pytest.approx(51 / (3 * 0.0820), rel=0.01)
    assert found["time"] == pytest.approx(8 * 111_000 / (8 * found["student"]) / 3600)
    assert found["disk"] == pytest.approx(3 * 4 * 4 * 8_496_784 / 1e9)
    assert limit.startswith("the student") and "no cache yet" in limit
    with pytest.raises(InputError, match="--photos N"):
        plan(**options, gpus=8)
    with pytest.raises(InputError, match="global_batch 64 does not divide into 3"):
        plan(**options, gpus=3, photos=1)


def test_a_plan_of_the_prompt_stage_adds_what_decoding_takes(capsys, tmp_path):
    settings = [f"data.cache={tmp_path}", "prompts.per_photo=6", "prompts.rounds=2", "mask_loss.truth=0"]
    settings += ["prompts.source=annotations", "trainable.mask_decoder=0"]
    options = {"config": "prompt_repvit_m1_1_sa1b", "gpu": "h100", "photos": 1000}
    found, _ = figures(capsys, **options, set_=settings)
    encoder, decoder = 3 * forward_tflop("repvit_m1_1", image_size=1024), prompt_tflop(image_size=1024)
    per_photo = encoder + 6 * 2 * (1 + 2) * decoder  # the teacher's masks, and the student's there and back
    assert found["student"] == pytest.approx(51 / per_photo)
    learning, _ = figures(capsys, **options, set_=[*settings, "trainable.mask_decoder=0.1"])
    assert learning["student"] == pytest.approx(51 / (per_photo + 6 * 2 * decoder))
    assert learning["GPU memory"] > found["GPU memory"]
    drawn, _ = figures(capsys, **options, set_=[*settings, "prompts.source=teacher", "prompts.box_share=0.5"])
    assert drawn["student"] == pytest.approx(51 / (per_photo + 3 * decoder))
    only = [*settings, "trainable.backbone=0", "trainable.neck=0", "trainable.mask_decoder=0.1"]
    frozen, _ = figures(capsys, **options, set_=only)
    assert frozen["student"] == pytest.approx(51 / (per_photo + 6 * 2 * decoder - 2 / 3 * encoder))
    assert frozen["GPU memory"] < learning["GPU memory"]
    fewer, _ = figures(capsys, **options, set_=[*settings, "prompts.rounds=1"])
    assert fewer["GPU memory"] < found["GPU memory"]


def test_a_cache_says_how_many_photos_it_has_and_how_fast_they_are_read(capsys, tiny_cache):
    settings = [f"data.cache={tiny_cache}", "data.num_workers=0", "model.image_size=64", "global_batch=2"]
    found, _ = figures(capsys, config="quickstart_repvit_m0_6", set_=settings, gpu="a100")
    assert found["photos"] == Manifest.read(tiny_cache).samples
    assert found["together"] == pytest.approx(min(found["student"], 1e3 / found["reading"]))


@pytest.fixture
def one_thread():
    """Threads that wait for busy cores would take seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_without_a_gpu_named_the_teacher_and_the_student_are_measured_here(capsys, tmp_path, one_thread):
    small = ["teacher.image_size=64", "batch_size=1", f"out={tmp_path}"]
    found, _ = figures(capsys, config="quickstart_precompute", set_=[*SAMPLE, *small])
    assert found["teacher"] > 0 and found["time"] == pytest.approx(32 / found["together"] / 3600)
    smaller = [f"data.cache={tmp_path}", "model.image_size=64", "global_batch=2"]
    found, _ = figures(capsys, config="quickstart_repvit_m0_6", set_=smaller, photos=10)
    assert found["student"] == found["together"] > 0
    with_masks = ["stage=prompt", "prompts.per_photo=64", "prompts.rounds=2", "prompts.source=teacher"]
    slower, _ = figures(capsys, config="quickstart_repvit_m0_6", set_=[*smaller, *with_masks], photos=10)
    assert 0 < slower["student"] < found["student"]


def test_what_a_plan_cannot_be_made_of_is_said(tmp_path):
    with pytest.raises(InputError, match="expected a100 or h100; did you mean"):
        plan(config="quickstart_precompute", gpu="a10")
    with pytest.raises(InputError, match="--gpus 0"):
        plan(config="quickstart_precompute", gpus=0)
    with pytest.raises(InputError, match="stage mask"):
        plan(config="sam_demo_256", gpu="a100")
    with pytest.raises(InputError, match=r"--set teacher\.arch=sam_vit_h"):
        plan(config="precompute_sa1b_vit_h", set_=["teacher.arch=null"], gpu="a100")


def test_a_batch_that_does_not_fit_is_said(capsys):
    plan(config="distill_repvit_m2_3_sa1b", set_=["global_batch=64", "model.arch=repvit_m1_1"], gpu="a100", photos=1000)
    assert "GB do not fit A100" in capsys.readouterr().out


def test_photos_are_measured_without_a_teacher():
    source = open_source(str(resolve_data("sample:val")))
    cost = measure_photos(source, image_size=128, codec="int8", count=4)
    assert cost.photos == 4 and cost.reading_seconds > 0 and cost.coding_seconds > 0 and cost.bytes_per_photo > 10_000
