"""The files of the best weights: which are kept, and what is left of them after a kill."""

import pytest
import torch

from distill.probe.best import BestWeights
from encoders.errors import InputError


def state(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3, 4, 4), value).contiguous(memory_format=torch.channels_last), "count": torch.tensor(3)}


def kept(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_better_weights_are_kept_and_those_that_a_checkpoint_may_need(tmp_path):
    best = BestWeights(tmp_path / "checkpoints", start_step=0)
    assert best.weights() is None and best.step is None
    offered = [best.offer(state(step), step=step, iou=iou) for step, iou in ((0, 0.2), (2, 0.5), (4, 0.5), (6, 0.6), (8, 0.7))]
    assert offered == [True, True, False, True, True]
    best.prune([3, 5])
    assert kept(tmp_path / "checkpoints") == ["best_step_2.safetensors", "best_step_8.safetensors"]
    again = BestWeights(tmp_path / "checkpoints", start_step=5)  # the run goes on from there
    assert kept(tmp_path / "checkpoints") == ["best_step_2.safetensors"]
    assert (again.step, again.iou) == (2, 0.5) and torch.equal(again.weights()["weight"], state(2)["weight"])
    assert again.weights()["count"].dtype == torch.int64
    assert not again.offer(state(6), step=6, iou=0.5) and again.offer(state(6), step=6, iou=0.51)


def test_what_a_killed_process_left_unfinished_goes_and_damage_is_said(tmp_path):
    best = BestWeights(tmp_path, start_step=0)
    best.offer(state(1), step=1, iou=0.1 + 0.2)
    best.offer(state(2), step=2, iou=0.4)
    (tmp_path / "best_step_3.safetensors.0123.tmp").write_bytes(b"torn")
    (tmp_path / "best_step_2.safetensors").write_bytes(b"x" * 99)
    with pytest.warns(match="best_step_2.safetensors is damaged .* it is left out"):
        again = BestWeights(tmp_path, start_step=9)
    assert (again.step, again.iou) == (1, 0.1 + 0.2) and not list(tmp_path.glob("*.tmp"))
    content = bytearray((tmp_path / "best_step_1.safetensors").read_bytes())
    content[-9] ^= 1
    (tmp_path / "best_step_1.safetensors").write_bytes(content)
    with pytest.warns(match="is damaged.*the last weights are exported instead of the best"):
        assert again.weights() is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(InputError, match="checkpoints"):
        BestWeights(tmp_path / "checkpoints", start_step=0).offer(state(1), step=1, iou=0.1)
