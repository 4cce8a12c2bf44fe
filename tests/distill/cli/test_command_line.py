"""What every command has in common: it starts fast, ends quietly, and prints whatever it is told to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distill.cli import ending

ROOT = Path(__file__).resolve().parents[3]
FAST = ("--help", "--version", "models", "models --json", "suites", "configs", "configs sam_demo_256", "doctor")


def run(*arguments, stdout=subprocess.PIPE, **environment):
    """A finished `python -m distill ARGUMENTS`, its output as bytes."""
    command = [sys.executable, "-m", "distill", *arguments]
    changed = {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | changed, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60
    )


def test_commands_that_only_tell_something_import_no_torch():
    """All in one process, so a command that imported it would be the first to say so."""
    code = """
import contextlib, io, json, sys
from distill.cli.app import main
guilty = {}
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["repvit-sam", *arguments.split()]
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            main()
        except SystemExit as end:
            assert not end.code and shown.getvalue(), arguments
    guilty[arguments] = sorted({"torch", "deepspeed", "timm", "scipy"} & set(sys.modules))
print(json.dumps(guilty))
"""
    done = subprocess.run([sys.executable, "-c", code, json.dumps(FAST)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {arguments: [] for arguments in FAST}


def test_the_version_is_that_of_the_distribution(command):
    code, out, _ = command("--version")
    assert (code, out.split()[0]) == (0, "repvit-sam") and out.split()[1][0].isdigit()


def test_a_command_that_does_not_exist_is_answered_with_one_that_does(command):
    code, out, err = command("modls")
    assert (code, out) == (2, "") and "No such command 'modls'" in err and "'models'" in err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_ends_the_command_without_a_word(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    done = run("models", stdout=writing, PYTHONUNBUFFERED=unbuffered)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_broken_pipe_is_a_failure():
    with pytest.raises(RuntimeError, match="could not be delivered"), ending.ends_quietly():
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_output_to_a_full_disk_is_said():
    with open("/dev/full", "wb") as full:
        done = run("models", stdout=full, PYTHONUNBUFFERED="")
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: standard output cannot be written (No space left")


@pytest.mark.parametrize("place", ["distill.cli.about.machine_facts", "distill.cli.app.app"])
def test_ctrl_c_ends_with_130_and_without_a_traceback(command, monkeypatch, place):
    def interrupted(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    code, _, err = command("doctor")
    assert code == 130 and "Traceback" not in err


def test_names_of_other_scripts_are_printed_where_the_terminal_cannot_show_them():
    done = run("configs", "日本", PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and done.stderr.startswith(rb"error: no shipped config is called '\u65e5\u672c'")
    code = "from distill.cli.ending import print_anything; print_anything(); print('photo_\\u65e5.jpg \\udcff')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout == rb"photo_\u65e5.jpg \udcff" + b"\n"


def test_configs_are_listed_with_their_purpose_and_printed(command):
    from distill.config.folder import CONFIGS

    code, out, _ = command("configs")
    assert code == 0 and "quickstart_precompute The shipped sample through the demo teacher: 64 photos" in " ".join(out.split())
    shipped = {path.stem for path in CONFIGS.glob("*.yaml")}
    code, out, _ = command("configs", "--json")
    assert set(json.loads(out)) == shipped and all(len(what) > 20 and "\n" not in what for what in json.loads(out).values())
    for name in ("sam_demo_256", "sam_demo_256.yaml"):
        assert command("configs", name) == (0, (CONFIGS / "sam_demo_256.yaml").read_text(), "")
    code, _, err = command("configs", "sam_demo_265")
    assert code == 2 and "did you mean sam_demo_256?" in err


def test_every_suite_is_listed_with_what_it_measures_and_needs(command):
    from eval_zeroshot.suites.registry import SUITES

    code, out, _ = command("suites")
    assert code == 0 and "edges\n  measures: edge detection: ODS, OIS, AP, R50\n  data: folder of BSDS500" in out
    code, out, _ = command("suites", "--json")
    coco = "COCO or LVIS annotations and their photos"
    assert json.loads(out)["box"] == {"measures": "IoU with ground-truth boxes as prompts", "data": coco}
    assert set(json.loads(out)) == set(SUITES) and {"seginw", "instance_sam", "agreement_point"} < set(SUITES)


def test_the_result_of_a_run_in_several_processes_is_printed_once(command, monkeypatch, tmp_path):
    """By the command that starts them, and by none of them."""
    monkeypatch.setattr("distill.loop.distill", lambda run: None)
    arguments = ("distill", "--config", "quickstart_repvit_m0_6", "--set", f"out={tmp_path}")
    assert command(*arguments)[:2] == (0, f"run: {tmp_path}\n")
    code = "from distill.launching.starter import *; end_with_starter(); end_with_starter(); print(in_group())"
    ours = os.environ | {"REPVIT_SAM_STARTER": str(os.getpid())}
    started = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ours, capture_output=True, text=True, check=True)
    assert started.stdout == "True\n"
    monkeypatch.setattr("distill.launching.starter._in_group", True)
    assert command(*arguments)[:2] == (0, "")
