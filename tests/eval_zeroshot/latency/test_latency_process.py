"""Processes of subjects: calls, memory, reasons of failures."""

import os

import pytest

from encoders.export.untrained import untrained_subject
from encoders.weights.checkpoint import save_sam
from eval_zeroshot.latency.timing.process import Failed, ProcessSubject


@pytest.fixture
def subject(spec):
    """Makes a process; it is ended after the test."""
    made = []

    def make(**changes):
        made.append(ProcessSubject(spec("a", **changes)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_process_opens_calls_and_says_what_it_took(subject, tmp_path):
    save_sam(untrained_subject("repvit_m0_6", image_size=64), tmp_path / "w.safetensors")
    one = subject(path=str(tmp_path / "w.safetensors"))
    start = one.start()
    assert start.name.startswith("PyTorch ") and (start.precision, start.threads) == ("fp32", 1)
    assert start.load_ms > 0 and start.first_call_ms > 0
    timing = one.call(3)
    assert len(timing.wall_ms) == len(timing.cpu_ms) == 3 and min(timing.wall_ms) > 0
    assert timing.seconds * 1000 >= sum(timing.wall_ms) and timing.own_seconds * 1000 >= sum(timing.cpu_ms) * 0.99
    assert one.memory().peak_mb >= start.start_mb > 10 and one.memory().device_peak_mb is None


def test_the_reason_why_a_subject_cannot_be_opened_is_returned(subject, tmp_path):
    with pytest.raises(Failed, match="nothing.safetensors does not exist"):
        subject(path=str(tmp_path / "nothing.safetensors")).start()
    (tmp_path / "encoder.onnx").write_bytes(b"no model")
    pytest.importorskip("onnxruntime")
    with pytest.raises(Failed, match="cannot be opened by ONNX Runtime"):
        subject(path=str(tmp_path), runtime="onnxruntime").start()


def test_a_process_that_the_system_ends_is_a_failure_with_a_reason(subject):
    with pytest.raises(Failed, match="the system ended its process, probably because memory ran out"):
        subject()._ask(os._exit, 9)
