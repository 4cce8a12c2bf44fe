"""The whole run with simulated processes: rows, ratios, flags, and the rows of a run that ends early."""

import sys
from pathlib import Path

import pytest

from encoders.errors import InputError
from eval_zeroshot.latency import LabSettings, Pace, host, run_lab
from eval_zeroshot.latency.subjects.artefacts import Artefact, Workshop
from eval_zeroshot.latency.subjects.subject import ModelFacts

MODELS = [ModelFacts(name="a", arch="repvit_m0_6"), ModelFacts(name="b", arch="tiny_vit")]


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """An idle machine, and models that need no conversion."""
    monkeypatch.setattr(host, "check_idle", lambda *, allow_loaded: 0.0)
    monkeypatch.setattr(Workshop, "sam", lambda self: None)

    def make(self, runtime):
        if runtime == "openvino" and self.model.name == "b":
            raise RuntimeError("no such operation\nand more")
        return Artefact(path=tmp_path, precision="fp32", arch=self.model.arch, image_size=192, trained=False)

    monkeypatch.setattr(Workshop, "make", make)


def settings(**changes):
    return LabSettings(**({"runtimes": ["torch"], "pace": Pace(rounds=3, warm_up=0), "baseline": "b"} | changes))


def test_rows_have_times_of_wall_and_processor_and_ratios_to_the_baseline(world):
    kept: list = []
    rows = run_lab(MODELS, settings(), keep=kept.extend, start=world.start)
    a, b = rows
    assert kept == rows
    assert (a.model, a.runtime, a.part, a.threads, a.p50_ms, a.cpu_ms, a.calls) == ("a", "torch", "encoder", 1, 400.0, 200.0, 3)
    assert (a.ratio_to_baseline, a.ratio_low, a.ratio_high, a.cpu_ratio_to_baseline) == (0.5, 0.5, 0.5, 0.5)
    assert (b.ratio_to_baseline, b.ratio_low) == (1.0, None)
    assert (a.load_ms, a.first_call_ms, a.start_mb, a.peak_mb, a.image_size) == (70.0, 500.0, 100.0, 250.0, 192)
    assert a.runtime_name == "Pretended 1.0" and a.trained is False and a.arch == "repvit_m0_6"
    assert a.versions["torch"] and a.host["cores"] >= 1 and a.device
    assert a.complete and not a.loaded and a.round_ms == [400.0] * 3


def test_ratios_are_taken_within_runtime_and_threads(world):
    world.drift = lambda call: 1.0 + call // 7  # the second block is slower
    chosen = settings(threads=[1, 2], runtimes=["torch", "onnxruntime"])
    rows = run_lab(MODELS, chosen, keep=lambda rows: None, start=world.start)
    assert len(rows) == 8
    for one in rows:
        assert one.ratio_to_baseline == pytest.approx({"a": 0.5, "b": 1.0}[one.model]), one


def test_a_busy_machine_is_marked_in_each_row(world):
    world.others = 0.5
    (a, b) = run_lab(MODELS, settings(), keep=lambda rows: None, start=world.start)
    assert a.loaded and a.other_cpu == pytest.approx(0.5) and b.loaded


def test_calls_too_short_to_tell_are_judged_by_the_whole_block(world):
    world.milliseconds, world.first_ms, world.others = {"a": 0.1, "b": 800.0}, 0.1, 0.5
    a, _ = run_lab(MODELS, settings(), keep=lambda rows: None, start=world.start)
    assert a.loaded and a.other_cpu == pytest.approx(0.5, abs=0.01)


def test_what_cannot_be_converted_is_a_row_that_says_why(world):
    rows = run_lab(MODELS, settings(runtimes=["openvino"], baseline=None), keep=lambda rows: None, start=world.start)
    assert {one.model: one.how for one in rows} == {"a": "measured", "b": "failed"}
    assert next(one.note for one in rows if one.model == "b") == "cannot be converted: RuntimeError: no such operation"


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_core_ml_elsewhere_is_a_row_that_says_so(world):
    (row,) = run_lab(MODELS[:1], settings(runtimes=["coreml"], baseline=None), keep=lambda rows: None, start=world.start)
    assert row.how == "not run here" and "macOS only" in row.note and row.p50_ms is None


def test_an_interrupted_run_keeps_finished_blocks_and_what_the_current_one_has(world):
    world.interrupt_at = 2 * 3 + 4
    kept: list = []
    with pytest.raises(KeyboardInterrupt):
        run_lab(MODELS, settings(threads=[1, 2]), keep=kept.extend, start=world.start)
    assert [(one.model, one.threads, one.complete, len(one.round_ms)) for one in kept] == [
        ("a", 1, True, 3), ("b", 1, True, 3), ("a", 2, False, 1), ("b", 2, False, 2),
    ]  # fmt: skip
    assert all(subject.closed for subject in world.subjects)


def test_a_row_of_a_gpu_has_its_name_and_its_memory(world, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    world.device = "NVIDIA Pretended"
    (row, _) = run_lab(MODELS, settings(device="cuda"), keep=lambda rows: None, start=world.start)
    assert row.device == "NVIDIA Pretended" and (row.peak_mb, row.device_peak_mb) == (250.0, 900.0)


def test_other_programs_during_throughput_are_in_the_row(world):
    world.others_in_throughput = 0.5
    (row, _) = run_lab(MODELS, settings(batches=[2, 8], seconds=2.0), keep=lambda rows: None, start=world.start)
    assert row.throughput == {2: 20.0, 8: 80.0} and row.throughput_other_cpu == {2: pytest.approx(0.5), 8: pytest.approx(0.5)}
    assert row.throughput_loaded and not row.loaded
    world.others_in_throughput = 0.01
    (row, _) = run_lab(MODELS, settings(batches=[2]), keep=lambda rows: None, start=world.start)
    assert row.throughput_other_cpu == {2: pytest.approx(0.01)} and not row.throughput_loaded


def test_throughput_too_short_to_tell_is_judged_by_the_calls(world):
    world.others = world.others_in_throughput = 0.5
    (row, _) = run_lab(MODELS, settings(batches=[2], seconds=0.01), keep=lambda rows: None, start=world.start)
    assert row.throughput_loaded and row.throughput_other_cpu == {2: pytest.approx(0.5)}


def test_remarks_of_the_runtime_and_of_the_block_are_in_the_note(world):
    world.note = "includes conversion"
    chosen = settings(runtimes=["onnxruntime"], batches=[2])
    (row, _) = run_lab(MODELS, chosen, keep=lambda rows: None, start=world.start)
    assert row.note == "includes conversion; no throughput, as it takes one image at a time"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtimes": ["torch_fused"], "parts": ["decoder"]}, "^torch_fused has no decoder of its own; add --runtime torch$"),
        ({"runtimes": ["torch_fused", "torch_fused_channels_last"], "parts": ["decoder"]}, "have no decoders of their own"),
        ({"device": "cuda"}, "PyTorch finds no CUDA device"),
        ({"parts": ["everything"], "photo": Path("nowhere.jpg")}, "nowhere.jpg does not exist"),
    ],
)
def test_what_would_fail_in_every_subject_is_refused_before_anything_starts(world, monkeypatch, changes, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        run_lab(MODELS, settings(**changes), keep=lambda rows: pytest.fail("a row was kept"), start=world.start)
    assert not world.subjects


def test_an_exported_folder_is_not_timed_on_a_gpu(world, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    exported = ModelFacts(name="b", source="runs/onnx", exported="onnx")
    with pytest.raises(InputError, match="runs/onnx is an exported folder"):
        run_lab([exported], settings(device="cuda"), keep=lambda rows: None, start=world.start)


def test_a_failed_row_says_what_was_asked(world):
    world.broken = {"a"}
    (row, _) = run_lab(MODELS, settings(parts=["decoder"], prompts=64), keep=lambda rows: None, start=world.start)
    assert row.how == "failed" and row.detail == {"prompts": 64}


def test_a_baseline_that_is_no_model_is_refused_before_anything_starts(world):
    with pytest.raises(InputError, match="--baseline 'c' is not among the models a, b"):
        run_lab(MODELS, settings(baseline="c"), keep=lambda rows: None, start=world.start)
    assert not world.subjects


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threads": [0]}, "--threads 0"), ({"batches": [2, 0]}, "--batch 0"), ({"grid": 0}, "--grid 0"),
        ({"device": "cuda", "runtimes": ["torch", "litert"]}, "leave out --runtime litert"),
        ({"image_size": 0}, "image size 0 is not a positive multiple"), ({"image_size": -64}, "image size -64"),
        ({"seconds": -1.0}, "--batch-seconds -1.0"), ({"seconds": 0.0}, "--batch-seconds 0.0"),
        ({"seconds": float("nan")}, "--batch-seconds nan"), ({"seconds": float("inf")}, "--batch-seconds inf"),
        ({"at_once": 0}, "--at-once 0"), ({"device": "gpu"}, "--device 'gpu'"), ({"parts": []}, "nothing to time"),
    ],
)  # fmt: skip
def test_settings_out_of_range(given, message):
    with pytest.raises(InputError, match=message):
        settings(**given)
