"""The alarm on runs as they were measured, and the history of a run read from its metrics."""

import json

import pytest

from distill.config.probe import AlarmConfig
from distill.probe.alarm import History, Probe, warning_of

RULE = AlarmConfig(probes=3)
# RepViT-M0.6 on 12 photos at 128 px, a probe every 5 steps: step, IoU, MSE, training loss.
GOOD = [(0, 0.216, 1.297, None), (5, 0.250, 1.169, 1.2351), (10, 0.311, 0.812, 0.9372), (15, 0.397, 0.765, 0.6219),
        (20, 0.405, 0.740, 0.5314), (25, 0.425, 0.731, 0.4654), (30, 0.416, 0.729, 0.5146)]  # fmt: skip
# The same with the loss of the mean over channels alone, and with the teacher's channels in another order.
MEANS = [(0, 0.216, 1.297, None), (5, 0.217, 1.384, 0.0011), (10, 0.173, 1.416, 0.0007), (15, 0.169, 1.414, 0.0005),
         (20, 0.161, 1.387, 0.0005), (25, 0.216, 1.337, 0.0004), (30, 0.231, 1.317, 0.0005)]  # fmt: skip
OTHER = [(0, 0.216, 1.297, None), (5, 0.190, 1.262, 1.2309), (10, 0.141, 1.245, 0.9199), (15, 0.132, 1.222, 0.6107),
         (20, 0.138, 1.196, 0.5317), (25, 0.141, 1.184, 0.4544), (30, 0.148, 1.182, 0.5014)]  # fmt: skip
CONVERGED = [(0, 0.04, 1.0, None), *((step, 0.04, 0.07, 0.065) for step in range(1, 30))]  # long ago, nanosam's way
SATURATED = [(step, 0.8 + 0.001 * step, 0.9**step, 0.9**step) for step in range(12)]


def first_warning(run, rule=RULE):
    """Step and text of the first warning of a run; None if there is none."""
    probes = [Probe(*numbers) for numbers in run]
    warnings = ((probe.step, warning_of(probes[: n + 1], rule=rule)) for n, probe in enumerate(probes))
    return next(((step, text) for step, text in warnings if text is not None), None)


@pytest.mark.parametrize("run", [GOOD, SATURATED, GOOD[:3], [(step, 0.1, 1.0, 1.0) for step in range(12)]])
def test_a_run_whose_masks_improve_are_good_or_whose_loss_stays_is_left_alone(run):
    assert first_warning(run) is None


@pytest.mark.parametrize("run", [MEANS, OTHER])
def test_a_loss_that_says_nothing_of_masks_is_noticed_at_the_first_probe_that_may(run):
    step, text = first_warning(run)
    assert step == 15 and "training loss fell from " in text and "mean IoU with the teacher's 0.216 then" in text
    assert "On photos that are not trained on the embeddings come no closer" in text


def test_a_loss_that_converged_before_the_first_probe_is_noticed_as_long_as_masks_stay_bad():
    assert warning_of([Probe(*numbers) for numbers in CONVERGED], rule=AlarmConfig()) == (
        "since step 0 the probe's MSE fell from 1 to 0.07, and the masks did not improve: mean IoU with the teacher's 0.040 "
        "then, 0.040 now. The embeddings come closer to the teacher's, but not in what its decoder needs: check the loss and "
        "its weights"
    )


def test_each_of_the_three_conditions_is_needed():
    assert first_warning([(0, 0.1, 1.0, 1.0), (1, 0.1, 0.7, 1.0)], AlarmConfig(probes=1))
    assert not first_warning([(0, 0.1, 1.0, 1.0), (1, 0.1, 0.85, 1.0)], AlarmConfig(probes=1))
    assert not first_warning([(0, 0.1, 1.0, 1.0), (1, 0.13, 0.7, 1.0)], AlarmConfig(probes=1))
    assert not first_warning([(0, 0.5, 1.0, 1.0), (1, 0.5, 0.7, 1.0)], AlarmConfig(probes=1))


def test_a_history_takes_what_was_added_and_no_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = History(path)
    assert history.probes == [] and history.mean_loss() is None

    def add(*records, torn=""):
        with path.open("a") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records) + torn)

    add({"step": 0, "probe/iou": 0.1, "probe/mse": 2.0}, {"step": 1, "loss": 3.0})
    add({"step": 2, "loss": 1.0}, torn='{"step": 3, "lo')
    history.read()
    assert history.mean_loss() == 2.0 and history.probes == [Probe(0, 0.1, 2.0, None)]
    add(torn='ss": 5.0}\n')
    history.read()
    assert history.mean_loss() == 3.0
    add({"step": 4, "probe/iou": 0.2, "probe/mse": 1.0, "probe/train_loss": 3.0, "probe/warning": "so"})
    history.read()
    assert history.probes[1:] == [Probe(4, 0.2, 1.0, 3.0, "so")] and history.mean_loss() is None
    again = History(path)
    assert again.probes == history.probes and again.mean_loss() is None
