"""A run's YAML: what is refused, and what the message says."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from distill.config.deepspeed import read_deepspeed_config
from distill.config.folder import CONFIGS
from distill.config.reading import find_config, read_config, read_run, write_config
from distill.config.runs import PrecomputeConfig, Run, RunConfig
from distill.run_folder import check_run, claim_run
from encoders.errors import InputError, InputWarning

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


@pytest.fixture
def mask_file(tmp_path: Path) -> Path:
    path = tmp_path / "mask.yaml"
    path.write_text(yaml.safe_dump({key: BASE[key] for key in ("name", "model", "schedule")} | {"stage": "mask"}))
    return path


def read(file: Path, *overrides: str) -> Run:
    return read_run(file, overrides=overrides)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optim.weigth_decay=0.1", "unknown key optim.weigth_decay; did you mean weight_decay?"),
        ("optm.lr=1", "unknown key optm; did you mean optim?"),
        ("schedule.zzz=1", "unknown key schedule.zzz; allowed: steps, epochs"),
        ("optim.lr=fast", "optim.lr: .*number.*given: 'fast'"),
        ("optim.lr=-1", "optim.lr: .*greater than 0.*given: -1"),
        ("optim.lr=.inf", "optim.lr: .*finite"),
        ("schedule.epochs=3", "schedule: .*either steps or epochs"),
        ("loss.mse=0", "every weight of loss is 0"),
        ("stage=mask", "stage mask needs the section mask_data"),
        ("stage=masks", "stage: expected embedding or mask .*given: 'masks'.*did you mean mask?"),
        ("mask_loss.bce=1", "unknown key mask_loss: it belongs to stage mask, and this run is of stage embedding"),
        ("model.arch", "--set 'model.arch': expected key=value"),
        ("name=[", "'\\[' is not YAML"),
        ("optim.betas=[0.9, 2]", "optim.betas.1: .*less than 1.*given: 2"),
        ("seed=-1", "seed: .*greater than or equal to 0.*given: -1"),
        ("licences={photos: .nan}", "licences.photos: expected a finite number"),
        ("optim.lr=1e999", "optim.lr: expected a finite number"),
        ("a.b.c.d.e.f.g.h.i.j.k.l=1", "no setting lies 11 sections deep"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_given(file, override, says):
    with pytest.raises(InputError, match=says):
        read(file, override)


def test_overrides_reach_nested_keys_and_numbers_with_exponents(file):
    config = read(file, "optim.lr=5e-4", "optim.betas=[0.8, 0.9]", "ema.decay=0", "name=nan")
    assert (config.optim.lr, config.optim.betas, config.ema.decay, config.name) == (5e-4, (0.8, 0.9), 0.0, "nan")


def test_an_override_reaches_into_a_list(mask_file):
    sets = "mask_data.sets=[{kind: bsds, folder: a}, {kind: bsds, folder: b}]"
    config = read(mask_file, sets, "mask_data.sets.1.folder=c")
    assert [entry.folder for entry in config.mask_data.sets] == ["a", "c"]
    with pytest.raises(InputError, match="numbered from 0"):
        read(mask_file, sets, "mask_data.sets.2.folder=c")


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
        read_config(path, PrecomputeConfig) if "precompute" in path.name else read_run(path)
        assert path.read_text().startswith("#"), f"{path.name} does not say what it costs"


def test_deepspeed_settings_by_name_by_path_or_an_error(tmp_path):
    assert read_deepspeed_config("zero0").content["zero_optimization"]["stage"] == 0
    assert read_deepspeed_config("bf16_accumulate8").gradient_accumulation_steps == 8
    (tmp_path / "own.json").write_text(json.dumps({"zero_optimization": {"stage": 0}, "steps_per_print": 5}))
    own = read_deepspeed_config(str(tmp_path / "own.json"))
    assert own.content == {"zero_optimization": {"stage": 0}, "steps_per_print": 5} and own.gradient_accumulation_steps == 1
    with pytest.raises(InputError, match="'zero7' is neither a file nor one of bf16, bf16_accumulate8, zero0"):
        read_deepspeed_config("zero7")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_above_0_is_refused_with_the_reason(tmp_path, stage):
    (tmp_path / "own.json").write_text(json.dumps({"zero_optimization": {"stage": stage}}))
    for name in (f"zero{stage}", str(tmp_path / "own.json")):
        with pytest.raises(InputError, match="could not go on on another number of them.*use zero0"):
            read_deepspeed_config(name)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not JSON"),
        (b"[]", "is not a DeepSpeed config: the file: .*given: \\[\\]"),
        (b'{"gradient_accumulation_steps": 0}', "gradient_accumulation_steps: .*greater than or equal to 1 .given: 0"),
        (b'{"gradient_accumulation_steps": true}', "gradient_accumulation_steps: .*valid integer .given: True"),
        (b'{"bf16": true}', "bf16: Input should be a valid dict"),
        (b'{"zero_optimization": {"stage": "1"}}', "zero_optimization.stage: Input should be a valid integer"),
    ],
)
def test_a_damaged_deepspeed_json_is_one_message(tmp_path, content, says):
    (tmp_path / "own.json").write_bytes(content)
    with pytest.raises(InputError, match=f"own.json.*{says}"):
        read_deepspeed_config(str(tmp_path / "own.json"))


BOMB = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (BOMB, "more than 20000 values"),
        ("name: " + "[" * 20_000, "nested too deeply"),
        ("seed: " + "9" * 5000, "not YAML"),
        ("name: x\nname: y\n", "key 'name' twice"),
        ("optim: {lr: .inf}", "optim.lr: expected a finite number"),
        ("mask_data: {scale: [1.0, .nan]}", "mask_data.scale.1: expected a finite number"),
    ],
)
def test_a_config_made_to_do_harm_is_refused(tmp_path, file, content, says):
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "bad.yaml")
    if content.startswith(("name: [", "seed")):
        with pytest.raises(InputError, match=says):
            read(file, content.replace(": ", "=", 1))


def test_a_value_in_two_places_by_an_alias_is_overridden_in_one(mask_file):
    sets = "mask_data.sets=[&s {kind: bsds, folder: a}, *s]"
    config = read(mask_file, sets, "mask_data.sets.1.folder=b")
    assert [entry.folder for entry in config.mask_data.sets] == ["a", "b"]


def test_a_name_moves_the_output_folder_unless_out_is_given(file):
    assert read(file, "name=mine").folder == Path("runs/mine")
    file.write_text(yaml.safe_dump(BASE | {"out": "elsewhere/theirs"}))
    assert read(file).folder == Path("elsewhere/theirs")
    assert read(file, "name=mine").folder == Path("elsewhere/mine")
    assert read(file, "name=mine", "out=here").folder == Path("here")
    assert read(file, "out=null", "name=mine").folder == Path("runs/mine")


@pytest.mark.parametrize("out", ["s3://bucket/run", "gs://bucket", "s3:/bucket"])
def test_a_url_is_no_run_folder(file, command, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    code, _, error = command("distill", "--config", file, "--set", f"out={out}")
    assert code == 2 and f"out={out} is a URL" in error
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def begin(config: RunConfig) -> None:
    """A run that has got to its first line of metrics."""
    config.folder.mkdir(parents=True, exist_ok=True)
    claim_run(config)
    (config.folder / "metrics.jsonl").write_text('{"step": 1}\n')


def test_a_run_goes_on_only_under_its_own_config(file, tmp_path):
    out = f"out={tmp_path / 'run'}"
    begin(read(file, out))
    same = check_run(read(file, out, "log.every_steps=1", "checkpoint.keep=5", "data.num_workers=0", "schedule.steps=20"))
    assert same["schedule"]["steps"] == 10
    with pytest.raises(InputError, match=r"optim.lr: 0.001 there, 0.01 now; seed: 0 there, 3 now"):
        check_run(read(file, out, "optim.lr=0.01", "seed=3"))


def test_a_start_that_failed_before_anything_was_learned_does_not_claim_the_folder(file, tmp_path):
    out = f"out={tmp_path / 'run'}"
    (tmp_path / "run").mkdir()
    claim_run(read(file, out))
    assert check_run(read(file, out, "optim.lr=0.01")) is None


@pytest.mark.parametrize("content", [b"\xff", b"name: [", b"source: {path: photos}\nout: cache\n", b"- a"])
def test_a_config_yaml_that_is_damaged_or_not_of_a_run_is_left_alone(file, tmp_path, content):
    config = read(file, f"out={tmp_path / 'run'}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"run/config\.yaml"):
        check_run(config)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == content


def test_an_old_config_yaml_without_a_setting_of_today_still_fits(file, tmp_path):
    config = read(file, f"out={tmp_path / 'run'}")
    begin(config)
    there = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    del there["ema"], there["loss"]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(there))
    assert check_run(config) is not None


# As earlier versions wrote config.yaml: the sections of both stages, whichever the run had.
OLD = {
    "embedding": {
        "stage": "embedding",
        "mask_data": None,
        "mask_loss": {"focal": 0.0, "bce": 2.0, "dice": 1.0, "iou": 1.0, "multimask": 1.0, "refine": 0.0, "refine_share": 1.0},
        "trainable": {"backbone": 1.0, "neck": 1.0, "prompt_encoder": 1.0, "mask_decoder": 1.0},
    },
    "mask": {"stage": "mask", "teacher": None, "data": None, "loss": {"mse": 1.0, "cosine": 0.0}},
}


@pytest.mark.parametrize("stage", OLD)
def test_an_old_config_yaml_with_the_sections_of_both_stages_goes_on(file, mask_file, tmp_path, stage):
    new = {"embedding": file, "mask": mask_file}[stage]
    own = ["mask_data.sets=[{kind: bsds, folder: a}]"] if stage == "mask" else []
    config = read(new, f"out={tmp_path / 'run'}", *own)
    begin(config)
    old = tmp_path / "run" / "config.yaml"
    old.write_text(yaml.safe_dump(yaml.safe_load(old.read_text()) | OLD[stage]))
    assert check_run(config) == config.model_dump(mode="json")
    assert read(old) == config  # given as the config of a new run, too
    section = {"embedding": "mask_loss", "mask": "loss"}[stage]
    old.write_text(yaml.safe_dump(yaml.safe_load(old.read_text()) | {section: {"iou" if own == [] else "mse": 5.0}}))
    assert check_run(config) == config.model_dump(mode="json")  # it had no effect on the run
    with pytest.raises(InputError, match=f"unknown key {section}: it belongs to stage"):
        read(old)


def test_a_stored_run_of_the_other_stage_or_of_none_is_another_run(file, mask_file, tmp_path):
    out = f"out={tmp_path / 'run'}"
    begin(read(mask_file, out, "mask_data.sets=[{kind: bsds, folder: a}]"))
    with pytest.raises(InputError, match="stage: 'mask' there, 'embedding' now"):
        check_run(read(file, out))
    stored = tmp_path / "run" / "config.yaml"
    stored.write_text(stored.read_text().replace("stage: mask", "stage: [1]"))
    with pytest.raises(InputError, match="stage: \\[1\\] there"):
        check_run(read(file, out))


def test_a_precompute_config_of_an_earlier_release_with_a_lease_is_read_with_a_note(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("source: {path: photos}\nteacher: {model: sam_demo}\nout: cache\nlease_seconds: 600\n")
    with pytest.warns(InputWarning, match="lease_seconds is not used any more, .* remove it"):
        config = read_config(path, PrecomputeConfig)
    assert config.out == "cache" and "lease_seconds" not in config.model_dump()
