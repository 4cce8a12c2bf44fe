"""`distill` as a user runs it: to the end, killed and continued, in two processes, and on bad input."""

import json
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import encoders
from distill.cli.app import main

STEPS = 12  # a checkpoint every 4


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def curve(folder: Path) -> np.ndarray:
    """(steps, 4): step, loss, learning rate, gradient norm."""
    return np.array([[line[key] for key in ("step", "loss", "lr", "grad_norm")] for line in metrics(folder)])


def test_a_run_leaves_a_model_and_says_where_it_came_from(undisturbed):
    assert curve(undisturbed)[:, 0].tolist() == list(range(1, STEPS + 1))
    assert metrics(undisturbed)[-1]["loss"] < 0.5 * metrics(undisturbed)[0]["loss"]
    sam = encoders.load(str(undisturbed))
    teacher = encoders.load("sam_demo")
    assert sam.arch == "repvit_m0_6" and sam.image_encoder(torch.zeros(1, 3, 64, 64)).shape == (1, 256, 4, 4)
    for name, value in teacher.mask_decoder.state_dict().items():
        assert torch.equal(sam.mask_decoder.state_dict()[name], value), name
    facts = json.loads((undisturbed / "run.json").read_text())
    assert facts["teacher_sha256"] == encoders.weights_sha256("sam_demo")
    assert (facts["arch"], facts["steps"]) == ("repvit_m0_6", STEPS)
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]
    assert json.loads((undisturbed / "progress.jsonl").read_text().splitlines()[-1])["done"] == STEPS
    assert list(undisturbed.glob("events.*"))


def test_the_exported_encoder_is_the_average_not_the_last_step(undisturbed):
    state = torch.load(undisturbed / "checkpoints" / f"step_{STEPS}" / "state.pt", weights_only=True)
    exported = load_file(undisturbed / "encoder.safetensors")
    names = [name for name, value in state["module"].items() if value.ndim == 4]
    assert len(names) > 50
    assert all(torch.equal(exported[f"image_encoder.{n}"], state["ema"]["shadow"][n]) for n in names)
    assert not any(torch.equal(exported[f"image_encoder.{n}"], state["module"][n]) for n in names)


def test_a_killed_run_goes_on_from_its_checkpoint_as_if_nothing_had_happened(
    config_file, start, tmp_path, undisturbed, monkeypatch, capsys
):
    command = ("distill", "--config", config_file())
    run = tmp_path / "run"
    first = start(*command)
    deadline = time.monotonic() + 200
    while not (run / "metrics.jsonl").exists() or len(metrics_so_far(run)) < 6:
        assert time.monotonic() < deadline and first.poll() is None, first.communicate()[1][-3000:]
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (run / "encoder.safetensors").exists()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the first process
    try:
        code, out, err = cli(monkeypatch, capsys, *command, "--json")
    finally:
        torch.set_num_threads(threads)
    assert code == 0, err
    assert json.loads(out) == {"run": str(run)}
    assert "goes on: 4 of 12" in err or "goes on: 8 of 12" in err
    np.testing.assert_allclose(curve(run), curve(undisturbed), rtol=1e-5)
    ours, theirs = (load_file(folder / "encoder.safetensors") for folder in (run, undisturbed))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def metrics_so_far(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def test_two_processes_have_the_loss_curve_of_one(config_file, tmp_path, undisturbed, monkeypatch, capfd):
    """Tolerance 1e-3: sums over the batch are taken in another order, and twelve updates carry that rounding on."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code, out, err = cli(monkeypatch, capfd, "distill", "--config", config_file(), "--num-processes", 2, "--json")
    assert code == 0, err
    assert json.loads(out) == {"run": str(tmp_path / "run")}
    np.testing.assert_allclose(curve(tmp_path / "run"), curve(undisturbed), rtol=1e-3)
    assert encoders.load(str(tmp_path / "run")).arch == "repvit_m0_6"


def cli(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `repvit-sam ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["repvit-sam", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_a_finished_run_says_so(undisturbed, monkeypatch, capsys):
    before = metrics(undisturbed)
    code, out, err = cli(monkeypatch, capsys, "distill", "--config", undisturbed / "config.yaml", "--json")
    assert (code, json.loads(out)) == (0, {"run": str(undisturbed)})
    assert "is finished: 12 of 12 steps are done" in err
    assert metrics(undisturbed) == before


def test_a_finished_run_without_its_checkpoints_is_not_trained_again(undisturbed, tmp_path, monkeypatch, capsys):
    shutil.copytree(undisturbed, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    command = ("distill", "--config", undisturbed / "config.yaml", "--set", f"out={tmp_path / 'run'}")
    code, _, err = cli(monkeypatch, capsys, *command)
    assert code == 0 and "is finished: 12 of 12 steps are done" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optim.weight_deca=1"], "did you mean weight_decay[?]"),
        (["data.cache=nowhere"], "nowhere holds no cache"),
        (["teacher.model=missing.pth"], "missing.pth"),
        (["model.arch=repvit_m0_7"], "repvit_m0_6"),
        (["model.image_size=128"], "was made at image size 64, but 128 is asked for"),
        (["model.init=missing.pth"], "missing.pth"),
        (["global_batch=400"], "fewer than one global batch of 400"),
        (["deepspeed=zero9"], "'zero9' is neither a file nor one of bf16, "),
        (["deepspeed=zero1"], "use zero0"),
        (["teacher.arch=repvit_m0_6"], "teacher.model: .*say --set teacher.arch=null or --set teacher.arch=sam_demo"),
        (["teacher.model=repvit_m0_9"], "teacher.model: repvit_m0_9 ships no weights .*with --set teacher.arch=repvit_m0_9"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(config_file, monkeypatch, capsys, overrides, says):
    options = [text for override in overrides for text in ("--set", override)]
    code, out, err = cli(monkeypatch, capsys, "distill", "--config", config_file(), *options)
    assert (code, out) == (2, "")
    assert re.search(says, err) and "Traceback" not in err and "--arch" not in err and err.startswith("error: ")


def test_a_cache_of_another_teacher_is_refused(config_file, undisturbed, monkeypatch, capsys):
    other = ("--set", f"teacher.model={undisturbed}")
    code, out, err = cli(monkeypatch, capsys, "distill", "--config", config_file(), *other)
    assert (code, out) == (2, "") and "was made by teacher sam_demo" in err


def test_a_teacher_file_without_its_architecture_is_refused_before_training(config_file, tmp_path, monkeypatch, capsys):
    torch.save(encoders.load("sam_demo").state_dict(), tmp_path / "teacher.pth")
    teacher = ("--set", f"teacher.model={tmp_path / 'teacher.pth'}")
    code, out, err = cli(monkeypatch, capsys, "distill", "--config", config_file(), *teacher)
    assert (code, out) == (2, "") and "teacher.pth looks like" in err and "expected one of repvit_m0_6" in err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_start_that_fails_before_its_first_step_does_not_claim_its_folder(config_file, tmp_path, monkeypatch, capsys):
    for overrides, says in ((["teacher.model=missing.pth"], "missing.pth"), (["optim.lr=0.01", "global_batch=400"], "400")):
        options = [text for override in overrides for text in ("--set", override)]
        code, _, err = cli(monkeypatch, capsys, "distill", "--config", config_file(), *options)
        assert code == 2 and says in err and "another config" not in err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]


def test_another_config_in_the_same_folder_is_refused(undisturbed, monkeypatch, capsys):
    changed = ("--set", "optim.lr=0.5")
    code, _, err = cli(monkeypatch, capsys, "distill", "--config", undisturbed / "config.yaml", *changed)
    assert code == 2 and "optim.lr: 0.001 there, 0.5 now" in err


def test_precompute_makes_the_same_cache_from_a_config(tiny_cache, tmp_path, monkeypatch, capsys):
    job = {"source": {"path": str(tiny_cache.parent / "photos")}, "teacher": {"model": "sam_demo", "image_size": 64}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job | {"out": str(tmp_path / "cache"), "samples_per_shard": 5}))
    code, out, _ = cli(monkeypatch, capsys, "precompute", "--config", tmp_path / "job.yaml", "--json")
    assert code == 0 and json.loads(out)["photos"] == 14 and json.loads(out)["quarantined"] == 0
    nowhere = ("--set", f"source.path={tmp_path}/x")
    code, _, err = cli(monkeypatch, capsys, "precompute", "--config", tmp_path / "job.yaml", *nowhere)
    assert code == 2 and f"{tmp_path}/x" in err


@pytest.mark.parametrize("command", ["precompute", "distill", "eval", "compare", "doctor", "models", "quickstart"])
def test_every_command_has_help_with_an_example(command, monkeypatch, capsys):
    code, out, _ = cli(monkeypatch, capsys, command, "--help")
    assert code == 0 and f"repvit-sam {command}" in out


def test_eval_with_options_alone_means_models(monkeypatch, capsys):
    answers = [cli(monkeypatch, capsys, *words, "-s", "box", "--data", "x") for words in (["eval"], ["eval", "models"])]
    assert answers[0] == answers[1] and answers[0][0] == 2 and "--model" in answers[0][2]
    code, out, _ = cli(monkeypatch, capsys, "eval", "models", "--help")
    assert code == 0 and "repvit-sam eval -m" in out and "--suite" in out
    code, _, err = cli(monkeypatch, capsys, "eval", "modles")
    assert code == 2 and "No such command 'modles'" in err


def test_models_and_doctor_answer_in_json(monkeypatch, capsys):
    code, out, _ = cli(monkeypatch, capsys, "models", "--json")
    assert code == 0 and {"repvit_m2_3", "tiny_vit", "sam_vit_h", "sam_demo"} <= set(json.loads(out))
    code, out, _ = cli(monkeypatch, capsys, "doctor", "--json")
    assert code == 0 and json.loads(out)["versions"]["torch"] == torch.__version__.split("+")[0]


def test_eval_and_compare_of_wrong_names(tmp_path, monkeypatch, capsys):
    data = ("--data", "sample:val", "--limit", 1)
    code, _, err = cli(monkeypatch, capsys, "eval", "-m", "sam_demoo", "-s", "box", *data)
    assert code == 2 and "sam_demo" in err
    code, _, err = cli(monkeypatch, capsys, "eval", "-m", "sam_demo", "-s", "bix", *data)
    assert code == 2 and "box" in err
    code, _, err = cli(monkeypatch, capsys, "compare", tmp_path / "none.jsonl")
    assert code == 2 and "none.jsonl" in err
