"""A run's YAML: what is refused, and what the message says."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from distill.config import CONFIGS, DistillConfig, PrecomputeConfig, find_config, read_config, write_config
from distill.engine import read_deepspeed_config
from distill.run_folder import open_run
from encoders.errors import InputError

BASE = {
    "name": "x",
    "model": {"arch": "repvit_m0_6", "image_size": 64},
    "teacher": {"model": "sam_demo"},
    "data": {"cache": "cache"},
    "schedule": {"steps": 10},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


def read(file: Path, *overrides: str) -> DistillConfig:
    return read_config(file, DistillConfig, overrides=overrides)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optim.weigth_decay=0.1", "unknown key optim.weigth_decay; did you mean optim.weight_decay?"),
        ("optm.lr=1", "unknown key optm; did you mean optim?"),
        ("schedule.zzz=1", "unknown key schedule.zzz; allowed: steps, epochs"),
        ("optim.lr=fast", "optim.lr: .*number.*given: 'fast'"),
        ("optim.lr=-1", "optim.lr: .*greater than 0.*given: -1"),
        ("optim.lr=.inf", "optim.lr: .*finite"),
        ("schedule.epochs=3", "schedule: .*either steps or epochs"),
        ("loss.mse=0", "every weight of loss is 0"),
        ("stage=mask", "stage mask needs the section mask_data"),
        ("stage=masks", "stage: .*given: 'masks'"),
        ("model.arch", "--set 'model.arch': expected key=value"),
        ("name=[", "'\\[' is not a YAML value"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_given(file, override, says):
    with pytest.raises(InputError, match=says):
        read(file, override)


def test_overrides_reach_nested_keys_and_numbers_with_exponents(file):
    config = read(file, "optim.lr=5e-4", "optim.betas=[0.8, 0.9]", "ema.decay=0", "name=nan")
    assert (config.optim.lr, config.optim.betas, config.ema.decay, config.name) == (5e-4, (0.8, 0.9), 0.0, "nan")


def test_an_override_reaches_into_a_list(file):
    sets = "mask_data.sets=[{kind: bsds, folder: a}, {kind: bsds, folder: b}]"
    config = read(file, "stage=mask", sets, "mask_data.sets.1.folder=c")
    assert [entry.folder for entry in config.mask_data.sets] == ["a", "c"]
    with pytest.raises(InputError, match="numbered from 0"):
        read(file, "stage=mask", sets, "mask_data.sets.2.folder=c")


@pytest.mark.parametrize("content", ["- a list", "a: [", "\xff"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="bad.yaml"):
        read(tmp_path / "bad.yaml")


def test_a_misspelt_shipped_config_gets_a_near_miss():
    with pytest.raises(InputError, match="did you mean distill_repvit_m2_3_sa1b.yaml"):
        find_config("distil_repvit_m2_3_sa1b.yml")


def test_a_config_cannot_be_changed(file):
    with pytest.raises(ValidationError):
        read(file).optim.lr = 1.0


def test_the_resolved_config_reads_back_as_itself(file, tmp_path):
    config = read(file, "optim.lr=3e-5", "out=somewhere")
    write_config(config, tmp_path / "resolved.yaml")
    assert read(tmp_path / "resolved.yaml") == config


def test_every_shipped_config_is_valid():
    files = sorted(CONFIGS.glob("*.yaml"))
    assert len(files) >= 5
    for path in files:
        kind = PrecomputeConfig if "precompute" in path.name else DistillConfig
        read_config(path, kind)
        assert path.read_text().startswith("#"), f"{path.name} does not say what it costs"


def test_deepspeed_settings_by_name_by_path_or_an_error(tmp_path):
    assert read_deepspeed_config("zero1")["zero_optimization"]["stage"] == 1
    (tmp_path / "own.json").write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert read_deepspeed_config(str(tmp_path / "own.json")) == {"zero_optimization": {"stage": 2}}
    with pytest.raises(InputError, match="'zero7' is neither a file nor one of bf16, bf16_accumulate8, zero0, zero1"):
        read_deepspeed_config("zero7")


def test_a_run_goes_on_only_under_its_own_config(file, tmp_path):
    out = f"out={tmp_path / 'run'}"
    open_run(read(file, out))
    open_run(read(file, out, "log.every_steps=1", "checkpoint.keep=5", "data.num_workers=0"))
    with pytest.raises(InputError, match=r"optim.lr: 0.001 there, 0.01 now; seed: 0 there, 3 now"):
        open_run(read(file, out, "optim.lr=0.01", "seed=3"))
