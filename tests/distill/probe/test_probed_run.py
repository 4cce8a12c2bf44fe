"""Runs with a probe: training stays the same, the best weights survive a kill, a run may end early, the alarm."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import encoders
from distill import embedding_task
from distill.config.reading import read_run
from distill.loop import distill
from distill.probe.measure import Measure
from distill.probe.watch import ProbeWatch
from distill.run_folder import steps_done

PROBE = {"every_steps": 2, "share": 0.2, "photos": 3, "prompts": 4, "pictures": 1, "pictures_every": 100}


@pytest.fixture
def settings(photo_cache) -> dict[str, Any]:
    return {
        "name": "probed",
        "model": {"arch": "repvit_m0_6", "image_size": 128},
        "teacher": {"model": "sam_demo"},
        "data": {"cache": str(photo_cache), "num_workers": 0},
        "optim": {"lr": 0.002},
        "schedule": {"steps": 6, "warmup_steps": 1},
        "global_batch": 2,
        "ema": {"decay": 0.5},
        "checkpoint": {"every_steps": 3, "keep": 2},
        "log": {"every_steps": 1},
    }


@pytest.fixture
def run(settings, tmp_path):
    """Runs the settings, with changes, in tmp_path/NAME."""

    def go(name: str = "run", **changes: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings | {"out": str(tmp_path / name)} | changes))
        return distill(read_run(path))

    return go


@pytest.fixture
def scripted(monkeypatch):
    """Lets probes find these IoUs, one after the other, the last one for ever."""

    def set_ious(*ious: float, mse: float = 1.0) -> None:
        left = list(ious)
        found = {"mse": mse, "cosine": 0.5, "box_iou": 0.1, "box_score_gap": 0.0}
        monkeypatch.setattr(Measure, "__call__", lambda self, sam: found | {"iou": left.pop(0) if len(left) > 1 else left[0]})

    return set_ious


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def probes(folder: Path) -> list[dict[str, Any]]:
    return [line for line in lines(folder) if "probe/iou" in line]


def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def best_files(folder: Path) -> list[int]:
    return sorted(int(re.findall(r"\d+", path.name)[0]) for path in (folder / "checkpoints").glob("best_*"))


def state(folder: Path, step: int) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"step_{step}" / "state.pt", weights_only=True)


def test_a_probe_on_another_cache_changes_no_weight(run, bare_cache, capsys):
    plain, probed = run("plain"), run("probed", probe=PROBE | {"cache": str(bare_cache)}, export="last")
    for one, two in zip(*(torch.utils._pytree.tree_leaves(state(folder, 6)) for folder in (plain, probed)), strict=True):
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
    for name in ("encoder.safetensors", "decoder.safetensors"):
        assert (plain / name).read_bytes() == (probed / name).read_bytes()
    trained = [{key: line[key] for key in ("step", "loss", "lr")} for line in lines(probed) if "loss" in line]
    assert trained == [{key: line[key] for key in ("step", "loss", "lr")} for line in lines(plain)]
    assert [line["step"] for line in probes(probed)] == [0, 2, 4, 6] and not probes(plain)
    found = probes(probed)[-1]
    assert found["probe/train_loss"] == pytest.approx(sum(line["loss"] for line in lines(plain)[3:5]) / 2)
    assert found["probe/mse"] < probes(probed)[0]["probe/mse"]
    assert {"probe/box_iou", "probe/point_iou", "probe/point_score_gap", "probe/cosine"} <= found.keys()
    assert facts(probed)["exported"] == {"weights": "last", "step": None, "mask_iou": None}
    assert facts(probed)["probe"]["photos"] == 3 and 0 < facts(probed)["probe"]["share_of_time"] < 1
    err = capsys.readouterr().err
    assert "probe: 3 photos, with " in err and re.search(r"4 probes took \d+\.\d s, \d+\.\d % of the run's time", err)
    said = r"probe at step 6: mask IoU with the teacher 0\.\d{3} \(box .*, point .*\), mse .*, score gap box [+-]"
    assert re.search(said, err)
    assert re.search(r"note: a probe takes .* % of the run's time; for less than 3 % give probe.every_steps=\d+, or fewer", err)


def test_held_out_photos_are_measured_and_never_trained_on_and_tensorboard_has_it_all(run, settings, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained, take = set(), embedding_task.EmbeddingTask.losses
    monkeypatch.setattr(
        embedding_task.EmbeddingTask,
        "losses",
        lambda self, engine, batch: trained.update(batch.keys) or take(self, engine, batch),
    )
    folder = run(probe=PROBE, schedule={"steps": 12})
    loader = embedding_task.cache_loader(read_run(folder / "config.yaml"), batch_size=2, rank=0, world_size=1)
    held = {entry.keys[n] for i, entry in enumerate(loader.manifest.entries) for n in loader.held_out.numbers(i).tolist()}
    assert len(held) >= 2 and len(held) + loader.samples == 24 and len(trained) == loader.samples  # an epoch and a bit
    assert not trained & held
    board = EventAccumulator(str(folder)).Reload()
    assert {"probe/iou", "probe/box_iou", "train/loss"} <= set(board.Tags()["scalars"])
    assert board.Tags()["images"] == ["probe/masks"] and (folder / "probe.png").stat().st_size > 1000
    assert [event.step for event in board.Scalars("probe/mse")] == [0, 2, 4, 6, 8, 10, 12]


def test_a_run_killed_after_a_new_best_chooses_as_an_undisturbed_one(run, monkeypatch):
    whole = run("whole", probe=PROBE, schedule={"steps": 8, "warmup_steps": 1})
    look = ProbeWatch.look

    def look_and_die(self, step, *, last):
        look(self, step, last=last)
        if step == 4:  # measured, written, and perhaps the best; the last checkpoint is of step 3
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ProbeWatch, "look", look_and_die)
        run("killed", probe=PROBE, schedule={"steps": 8, "warmup_steps": 1})
    killed = whole.parent / "killed"
    assert probes(killed)[-1]["step"] == 4
    run("killed", probe=PROBE, schedule={"steps": 8, "warmup_steps": 1})
    assert probes(killed) == probes(whole) and best_files(killed) == best_files(whole)
    assert facts(killed)["exported"] == facts(whole)["exported"]
    for name in ("encoder.safetensors", "decoder.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_the_best_weights_are_exported_and_those_kept_that_a_resume_may_need(run, scripted):
    scripted(0.1, 0.7, 0.3, 0.8, 0.2)
    folder = run(probe=PROBE, schedule={"steps": 8}, checkpoint={"every_steps": 2, "keep": 3})
    assert [line["probe/iou"] for line in probes(folder)] == [0.1, 0.7, 0.3, 0.8, 0.2]
    assert facts(folder)["exported"] == {"weights": "best", "step": 6, "mask_iou": 0.8}
    assert best_files(folder) == [2, 6]  # checkpoints 4, 6 and 8 are left: up to 4 the best is 2
    exported, average = load_file(folder / "encoder.safetensors"), state(folder, 6)["ema"]["shadow"]
    assert all(torch.equal(exported[f"image_encoder.{name}"], value) for name, value in average.items())
    assert encoders.load(str(folder)).arch == "repvit_m0_6"


def test_lost_best_weights_are_said_to_be_and_the_last_are_exported(run, scripted):
    scripted(0.1, 0.7, 0.3)
    folder = run(probe=PROBE)
    (folder / "checkpoints" / "best_step_2.safetensors").write_bytes(b"x")
    (folder / "run.json").unlink()
    with pytest.warns(match="best_step_2.safetensors is damaged"):
        run(probe=PROBE)
    assert facts(folder)["exported"]["weights"] == "last"


def test_a_run_without_a_better_probe_ends_and_stays_ended_until_its_patience_changes(run, scripted, capsys):
    patient = PROBE | {"patience": 2}
    scripted(0.1, 0.5, 0.4, 0.45, 0.9)
    folder = run(probe=patient, schedule={"steps": 12})
    assert "ends at step 6 of 12: no better masks in 2 probes since step 2 (probe.patience)" in capsys.readouterr().err
    assert (facts(folder)["steps"], facts(folder)["stopped_early"]) == (6, {"of_steps": 12, "patience": 2})
    assert facts(folder)["exported"]["step"] == 2
    assert [line["step"] for line in lines(folder) if "loss" in line] == [*range(1, 7)]
    last = json.loads((folder / "progress.jsonl").read_text().splitlines()[-1])
    assert last == {"done": 6, "total": 6, "seconds_left": 0.0}
    run(probe=patient, schedule={"steps": 12})
    assert "is finished: 6 of 12 steps are done" in capsys.readouterr().err
    (folder / "run.json").unlink()  # killed before it was written
    before = lines(folder)
    run(probe=patient, schedule={"steps": 12})
    assert lines(folder) == before and facts(folder)["steps"] == 6
    run(probe=PROBE, schedule={"steps": 12})
    assert facts(folder)["steps"] == 12 and "stopped_early" not in facts(folder)
    assert facts(folder)["exported"] == {"weights": "best", "step": 8, "mask_iou": 0.9}
    assert steps_done(folder, steps=12, patience=None) == 12


def test_a_loss_that_falls_beside_masks_that_stay_bad_is_said_so_and_a_good_run_is_left_alone(run, monkeypatch, capsys):
    probe = PROBE | {"every_steps": 5, "photos": 8, "alarm": {"probes": 2}}
    changes: dict[str, Any] = {"probe": probe, "schedule": {"steps": 15, "warmup_steps": 2}, "optim": {"lr": 0.004}}
    good = run("good", **changes)
    assert "warning" not in capsys.readouterr().err and facts(good)["probe_warnings"] == []
    losses = embedding_task.embedding_losses

    def shuffled(student, teacher, valid, **weights):
        """A loss that asks for the teacher's channels in another order: it falls as the right one does."""
        return losses(student, teacher.flip(1), valid, **weights)

    monkeypatch.setattr(embedding_task, "embedding_losses", shuffled)
    bad = run("bad", **changes)
    assert lines(bad)[-1]["loss"] < 0.7 * next(line["loss"] for line in lines(bad) if "loss" in line)
    (first,) = facts(bad)["probe_warnings"]
    assert first["warning"] == next(line["probe/warning"] for line in probes(bad) if "probe/warning" in line)
    said = r"since step \d+ the training loss fell from .*, and the masks did not improve: mean IoU"
    assert re.search(said, first["warning"])
    assert f"warning: {first['warning']}\n" in capsys.readouterr().err
    assert probes(bad)[-1]["probe/iou"] < probes(good)[-1]["probe/iou"]


def test_a_run_that_ends_as_planned_when_its_patience_ends_was_not_stopped_early(run, scripted, capsys):
    scripted(0.5, 0.4)
    folder = run(probe=PROBE | {"patience": 2}, schedule={"steps": 4})
    assert "ends at step" not in capsys.readouterr().err
    assert facts(folder)["steps"] == 4 and "stopped_early" not in facts(folder)
