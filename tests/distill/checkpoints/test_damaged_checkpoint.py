"""A checkpoint that is not as it was written: noticed before use, and the one before it serves."""

import hashlib
import random
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from distill.checkpoints.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from distill.ema import Ema
from encoders.errors import InputError, InputWarning


def fresh(width: int = 4) -> tuple[Any, Ema]:
    """An engine as far as checkpoints know it, on a device that no checkpoint may be mapped to."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
    optimizer = torch.optim.AdamW([{"params": list(module.parameters()), "lr_factor": 1.0}], lr=0.1)
    return SimpleNamespace(module=module, optimizer=optimizer, device=torch.device("meta")), Ema(module, decay=0.5)


def train(engine: Any, ema: Ema) -> None:
    engine.module(torch.randn(5, 3)).square().sum().backward()
    engine.optimizer.step()
    engine.optimizer.zero_grad()
    ema.update()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 4 and 8."""
    engine, ema = fresh()
    for step in (4, 8):
        train(engine, ema)
        save_checkpoint(tmp_path, step=step, engine=engine, ema=ema, data_id="cache", keep=2)
    return tmp_path


def load(folder: Path) -> tuple[int, dict[str, torch.Tensor]]:
    engine, ema = fresh()
    step = load_checkpoint(folder, engine=engine, ema=ema, data_id="cache")
    return step, {**engine.module.state_dict(), **{f"ema {name}": value for name, value in ema.shadow.items()}}


def without_sums(folder: Path) -> None:
    """As earlier releases left them."""
    for file in folder.glob("step_*/SHA256SUMS"):
        file.unlink()


def flip(file: Path, *, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def test_sha256sum_can_check_a_checkpoint(folder):
    lines = (folder / "step_8" / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / "step_8" / name).read_bytes()).hexdigest() == digest
    assert [line.split("  ")[1] for line in lines] == ["state.pt", "state.json"]
    assert {path.name for path in (folder / "step_8").iterdir()} == {"state.pt", "state.json", "SHA256SUMS"}


@pytest.mark.parametrize("name", ["state.pt", "state.json", "SHA256SUMS"])
def test_after_any_flipped_bit_the_checkpoint_before_is_used_with_a_note(folder, name):
    _, before = load_step(folder, 4)
    original, rng = (folder / "step_8" / name).read_bytes(), random.Random(1)
    for _ in range(30):
        flip(folder / "step_8" / name, rng=rng)
        with pytest.warns(InputWarning, match=r"step_8/.* is damaged.*going on from step 4.*step_8\.damaged"):
            step, found = load(folder)
        assert step == 4
        torch.testing.assert_close(found, before, rtol=0, atol=0)
        assert list_checkpoints(folder) == [4]
        (folder / "step_8.damaged").rename(folder / "step_8")
        (folder / "step_8" / name).write_bytes(original)
    assert load(folder)[0] == 8


def load_step(folder: Path, step: int) -> tuple[int, dict[str, torch.Tensor]]:
    """What a folder with that checkpoint alone gives."""
    copy = folder.parent / f"only-{folder.name}-{step}"
    shutil.copytree(folder / f"step_{step}", copy / f"step_{step}")
    return load(copy)


def test_no_flipped_bit_in_a_checkpoint_of_an_earlier_release_alters_what_is_loaded(folder):
    without_sums(folder)
    expected = {step: load_step(folder, step)[1] for step in (4, 8)}
    file, rng = folder / "step_8" / "state.pt", random.Random(2)
    original, passed_over = file.read_bytes(), 0
    for _ in range(110):
        flip(file, rng=rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            step, found = load(folder)
        torch.testing.assert_close(found, expected[step], rtol=0, atol=0)
        if step == 4:
            passed_over += 1
            (folder / "step_8.damaged").rename(folder / "step_8")
        file.write_bytes(original)
    assert passed_over > 20


def rewrite(folder: Path, change: Any) -> None:
    """Change the newest state as someone with torch would, in a checkpoint of an earlier release."""
    without_sums(folder)
    state = torch.load(folder / "step_8" / "state.pt", weights_only=True)
    torch.save(change(state) or state, folder / "step_8" / "state.pt")


CHANGES = {
    "module: 0.weight is missing; did you mean 0.wait": lambda s: s["module"].update({"0.wait": s["module"].pop("0.weight")}),
    "module: Field required": lambda s: s.pop("module"),
    "ema.updates: ": lambda s: s["ema"].update(updates="many"),
    "ema: 1.bias is .* of shape .9,., this run's .* of .4,.": lambda s: s["ema"]["shadow"].update({"1.bias": torch.zeros(9)}),
    "module 0.weight holds numbers that are not finite": lambda s: s["module"]["0.weight"].fill_(float("nan")),
    "optimizer 0 exp_avg holds": lambda s: s["optimizer"]["state"][0]["exp_avg"].fill_(float("inf")),
    "optimizer: the state of parameter 0": lambda s: s["optimizer"]["state"][0].pop("exp_avg"),
    "optimizer: its groups": lambda s: s["optimizer"]["param_groups"].append({"params": [7]}),
    "the whole: Input should be a valid dictionary": lambda s: [1, 2],
}


@pytest.mark.parametrize("says", CHANGES)
def test_a_state_of_another_structure_is_named_and_the_one_before_is_used(folder, says):
    rewrite(folder, lambda state: value if isinstance(value := CHANGES[says](state), list) else None)
    with pytest.warns(InputWarning, match=f"step_8/state.pt.*{says}.*going on from step 4"):
        assert load(folder)[0] == 4


def test_where_no_good_checkpoint_is_left_the_message_says_what_to_do_and_all_files_stay(folder):
    for step in (4, 8):
        (folder / f"step_{step}" / "state.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"step_8/state.pt is damaged.*step_4/state.pt is damaged.*or delete"):
        load(folder)
    assert list_checkpoints(folder) == [4, 8]


def test_a_missing_state_is_a_damaged_checkpoint(folder):
    (folder / "step_8" / "state.pt").unlink()
    with pytest.warns(InputWarning, match="step_8/state.pt.*going on from step 4"):
        assert load(folder)[0] == 4


def test_the_steps_of_a_resumed_optimizer_stay_where_a_fresh_one_has_them(folder):
    engine, ema = fresh()
    assert load_checkpoint(folder, engine=engine, ema=ema, data_id="cache") == 8
    steps = [state["step"] for state in engine.optimizer.state.values()]
    assert [(step.device.type, float(step)) for step in steps] == [("cpu", 2.0)] * 4


def test_rates_and_decay_come_from_the_config_not_from_the_checkpoint(folder):
    engine, ema = fresh()
    engine.optimizer.param_groups[0] |= {"weight_decay": 0.25, "lr_factor": 0.5}
    load_checkpoint(folder, engine=engine, ema=ema, data_id="cache")
    assert (engine.optimizer.param_groups[0]["weight_decay"], engine.optimizer.param_groups[0]["lr_factor"]) == (0.25, 0.5)


def test_a_checkpoint_that_may_not_be_read_is_no_damaged_one(folder, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "state.pt")  # root may read everything
    with pytest.raises(InputError, match=r"step_8/state.pt cannot be read \(permission denied\); change its permissions"):
        load(folder)
    assert list_checkpoints(folder) == [4, 8]
