"""Rounds: in turn, each in the other direction, within limits, and kept when they end early."""

import pytest

from encoders.errors import InputError
from eval_zeroshot.latency.timing.blocks import Block, Measured, Pace, Stopped
from eval_zeroshot.latency.timing.process import Failed


def silent(line: str) -> None:
    pass


def test_subjects_take_turns_and_each_round_goes_the_other_way(world, spec):
    Block([spec("a"), spec("b"), spec("c")], pace=Pace(rounds=3, warm_up=0), start=world.start, say=silent).run()
    assert world.order() == "abc" + "cba" + "abc"


def test_warm_up_does_not_count(world, spec):
    world.drift = lambda call: 100.0 if call <= 4 else 1.0
    block = Block([spec("a"), spec("b")], pace=Pace(rounds=3, warm_up=2), start=world.start, say=silent)
    block.run()
    (a, b) = block.finish()
    assert [timing.wall_ms for timing in a.rounds] == [[400.0]] * 3 and [timing.wall_ms for timing in b.rounds] == [[800.0]] * 3


def test_a_slow_subject_sits_out_when_its_seconds_are_up_but_has_two_rounds(world, spec):
    world.milliseconds = {"a": 400.0, "b": 9000.0}
    block = Block([spec("a"), spec("b")], pace=Pace(rounds=5, warm_up=0, max_seconds=1.7), start=world.start, say=silent)
    block.run()
    a, b = block.finish()
    assert len(a.rounds) == 4 and len(b.rounds) == 2
    assert a.complete and b.complete


def test_a_first_call_that_takes_long_is_warm_up_enough(world, spec):
    world.first_ms = 6000.0
    Block([spec("a")], pace=Pace(rounds=1, warm_up=3, max_seconds=20.0), start=world.start, say=silent).run()
    assert world.order() == "a"


def test_what_cannot_start_is_reported_and_the_others_go_on(world, spec):
    world.broken = {"b"}
    said: list[str] = []
    block = Block([spec("a"), spec("b")], pace=Pace(rounds=1, warm_up=0), start=world.start, say=said.append)
    block.run()
    a, b = block.finish()
    assert isinstance(a, Measured) and isinstance(b, Stopped) and b.reason == "out of memory"
    assert any("b torch encoder, 1 thread: out of memory" in line for line in said)
    assert [subject.closed for subject in world.subjects] == [False, True]


def test_what_dies_on_the_way_is_no_measurement(world, spec):
    world.dying = {"a"}
    block = Block([spec("a"), spec("b")], pace=Pace(rounds=2, warm_up=0), start=world.start, say=silent)
    block.run()
    a, b = block.finish()
    assert isinstance(a, Stopped) and "ended by the system" in a.reason
    assert isinstance(b, Measured) and len(b.rounds) == 2


def test_an_interrupted_block_has_what_was_measured_until_then(world, spec):
    world.interrupt_at = 4
    block = Block([spec("a"), spec("b"), spec("c")], pace=Pace(rounds=3, warm_up=0), start=world.start, say=silent)
    with pytest.raises(KeyboardInterrupt):
        block.run()
    found = block.finish()
    assert [(one.spec.model, len(one.rounds), one.complete, one.memory.peak_mb) for one in found] == [
        ("a", 1, False, 250.0), ("b", 1, False, 250.0), ("c", 1, False, 250.0),
    ]  # fmt: skip
    world.interrupt_at = world.calls + 2
    other = Block([spec("a"), spec("b")], pace=Pace(rounds=3, warm_up=0), start=world.start, say=silent)
    with pytest.raises(KeyboardInterrupt):
        other.run()
    assert [one.spec.model for one in other.finish()] == ["a"]


def test_throughput_is_measured_for_each_batch_and_one_image_at_a_time_is_noted(world, spec):
    block = Block(
        [spec("a"), spec("b", runtime="onnxruntime")], pace=Pace(rounds=1, warm_up=0), start=world.start, say=silent
    )
    block.run()
    block.measure_throughput([4, 1, 4], seconds=0.1)
    a, b = block.finish()
    assert {batch: one.images_per_second for batch, one in a.throughput.items()} == {4: 40.0, 1: 10.0}
    assert b.throughput == {} and "one image at a time" in b.note


def test_a_batch_that_does_not_fit_leaves_the_latency(world, spec, monkeypatch):
    block = Block([spec("a")], pace=Pace(rounds=1, warm_up=0), start=world.start, say=silent)
    block.run()

    def too_much(batch: int, seconds: float) -> float:
        raise Failed("out of memory")

    monkeypatch.setattr(world.subjects[0], "throughput", too_much)
    block.measure_throughput([64], seconds=0.1)
    (a,) = block.finish()
    assert a.note == "batch 64: out of memory" and len(a.rounds) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [({"rounds": 0}, "--rounds 0 measures"), ({"warm_up": -1}, "--warm-up -1"), ({"max_seconds": 0.0}, "--max-seconds")],
)
def test_a_pace_that_measures_nothing(given, message):
    with pytest.raises(InputError, match=message):
        Pace(**given)
