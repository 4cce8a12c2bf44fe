"""`repvit-sam latency`: a small real run, tables and plots of files, and input that is refused."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from itertools import islice

import pytest
from PIL import Image

from distill.cli import app as cli
from distill.cli import latency as latency_commands
from eval_zeroshot import Result, write_results
from eval_zeroshot.latency import LatencyRow, host, read_rows

TORCH = ["torch", "torch_fused", "torch_fused_channels_last"]
SMALL = ["--untrained", "repvit_m0_6", "--image-size", 64, "--rounds", 2, "--allow-loaded"]


@pytest.fixture
def command(command):
    """Exit code, stdout and stderr of `repvit-sam latency ARGUMENTS`, in this process."""
    if all(group.name != "latency" for group in cli.app.registered_groups):
        latency_commands.register(cli.app)
    return partial(command, "latency")


def installed(*packages):
    return all(importlib.util.find_spec(package) for package in packages)


def options(name, values):
    return [word for value in values for word in (name, value)]


def row(**changes):
    fields = {"model": "ours", "runtime": "torch", "part": "encoder", "threads": 1, "device": "a server", "p50_ms": 412.0}
    return LatencyRow(**(fields | changes))


def test_a_small_model_in_two_runtimes(command, tmp_path):
    measure_small(command, tmp_path, runtimes=["torch", "torch_fused"])


@pytest.mark.slow  # 18 s: a process for each runtime
def test_a_small_model_in_every_runtime_that_is_here(command, tmp_path):
    measure_small(command, tmp_path, runtimes=[*TORCH, *here("onnxruntime", "openvino")])


def here(*runtimes):
    needs = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
    return [name for name in runtimes if installed(*needs[name])]


def measure_small(command, tmp_path, *, runtimes):
    out = tmp_path / "latency.jsonl"
    words = [*SMALL, *options("--runtime", runtimes), "--baseline", "repvit_m0_6", "--batch", 3, "--batch-seconds", 0.01]
    code, printed, err = command(*words, "--json", "--out", out)
    rows = json.loads(printed)
    assert code == 0, err
    assert [one["runtime"] for one in rows] == runtimes
    for one in rows:
        keys = {"model", "runtime", "part", "threads", "p50_ms", "cpu_ms", "ratio_to_baseline"}
        assert keys <= set(one) and (one["model"], one["part"], one["threads"]) == ("repvit_m0_6", "encoder", 1)
        assert 0 < one["p50_ms"] <= one["p90_ms"] <= one["p99_ms"] and one["calls"] >= 2 and len(one["round_ms"]) == 2
        assert one["cpu_ms"] > 0 and one["load_ms"] > 0 and one["first_call_ms"] > 0
        assert one["peak_mb"] >= one["start_mb"] > 10
        assert (one["threads_effective"], one["precision"], one["image_size"]) == (1, "fp32", 64)
        assert one["ratio_to_baseline"] == 1.0 and one["trained"] is False and one["complete"]
        assert set(one["throughput"]) == ({"3"} if one["runtime"] in TORCH else set())
    assert [one.model_dump(mode="json") for one in read_rows(out)] == rows
    (tmp_path / "printed.json").write_text(printed)
    code, again, _ = command("table", tmp_path / "printed.json", "--json")
    assert code == 0 and json.loads(again) == rows
    assert "round 2 of 2" in err


@pytest.mark.slow  # about a minute on an idle core: a decoder is converted, a model compiled, three parts in eight runtimes
def test_all_parts_and_the_compiled_model_and_two_threads(command, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    runtimes = ["torch", "torch_compiled", "onnxruntime", "openvino", "openvino_bf16"]
    words = [*SMALL, *options("--runtime", runtimes), *options("--part", ["encoder", "decoder", "everything"]), "--grid", 2]
    code, printed, err = command(*words, *options("--threads", [1, 2]), "--json", "--out", tmp_path / "l.jsonl")
    rows = json.loads(printed)
    assert code == 0, err
    assert len(rows) == 5 * 3 * 2
    for one in rows:
        assert one["how"] == "measured" and one["threads_effective"] == one["threads"], one
    decoders = [one for one in rows if one["part"] == "decoder"]
    assert all(one["detail"] == {"prompts": 1} for one in decoders)
    everything = [one for one in rows if one["part"] == "everything"]
    for one in everything:
        assert (one["detail"]["points"], one["detail"]["height"], one["detail"]["width"]) == (4, 42, 64)


@pytest.mark.slow  # about 20 s on an idle core: a model is exported and certified first
def test_an_exported_folder_is_timed_in_its_own_runtime(command, tmp_path):
    pytest.importorskip("onnxscript")
    from distill.jobs.sample_data import resolve_data
    from encoders import load
    from encoders.export import ExportRequest, export_model
    from eval_zeroshot import open_dataset

    photos, sam = list(islice(open_dataset(resolve_data("sample:val")), 1)), load("sam_demo", image_size=128)
    export_model(ExportRequest(sam=sam, out=tmp_path / "onnx", format="onnx", samples=photos, weights="sam_demo"))
    words = ["-m", f"shipped={tmp_path / 'onnx'}", "--rounds", 1, "--allow-loaded", "--out", tmp_path / "l.jsonl", "--json"]
    code, out, err = command(*words, *options("--part", ["encoder", "decoder"]))
    assert code == 0, err
    encoder, decoder = json.loads(out)
    assert (encoder["model"], encoder["arch"], encoder["runtime"]) == ("shipped", "sam_demo", "onnxruntime")
    assert (encoder["image_size"], encoder["trained"], encoder["threads_effective"]) == (128, True, 1)
    assert decoder["part"] == "decoder" and decoder["p50_ms"] > 0
    code, _, err = command(*words, "--image-size", 64)
    assert code == 2 and "was exported for 128 px, not 64" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--untrained", "repvit_m0_8"], "did you mean repvit_m0_"),
        (["-m", "nowhere", "--allow-loaded"], "nowhere does not exist"),
        (["-m", "a=sam_demo", "-m", "a=other"], "two models are called 'a'"),
        (["--untrained", "repvit_m0_6", "--runtime", "onnxrutime"], "did you mean onnxruntime"),
        (["--untrained", "repvit_m0_6", "--part", "decode"], "did you mean decoder"),
        (["--untrained", "repvit_m0_6", "--rounds", 0], "--rounds 0 measures nothing"),
        (["--untrained", "repvit_m0_6", "--threads", 0], "--threads 0"),
        (["--untrained", "repvit_m0_6", "--baseline", "repvit_m0_9"], "--baseline 'repvit_m0_9' is not among the models"),
        (["--untrained", "repvit_m0_6", "--image-size", 100, "--allow-loaded"], "100"),
        (["--untrained", "repvit_m0_6", "--image-size", 0], "image size 0 is not a positive multiple of 64"),
        (["--untrained", "repvit_m0_6", "--batch", 2, "--batch-seconds", -1], "--batch-seconds -1.0: expected more than 0"),
        ([*SMALL, "--runtime", "torch_fused", "--part", "decoder"], "torch_fused has no decoder of its own; add --runtime"),
        ([*SMALL, "--part", "everything", "--photo", "missing.jpg"], "missing.jpg does not exist"),
        ([*SMALL, "--device", "cuda"], "PyTorch finds no CUDA device here"),
        (["--rounds", 3], "nothing to time"),
    ],
)
def test_wrong_input_is_refused_and_nothing_written(command, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, err = command(*words, "--json", "--out", tmp_path / "latency.jsonl")
    assert code == 2 and message in err and out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_other_content_is_refused_before_the_run(command, tmp_path):
    out = tmp_path / "notes.txt"
    out.write_text("the end of my notes")
    code, _, err = command(*SMALL, "--out", out)
    assert code == 2 and "a file with other content is there" in err and "round" not in err
    assert out.read_text() == "the end of my notes"
    code, _, err = command(*SMALL, "--out", "/dev/null")
    assert code == 2 and "/dev/null is a device or socket" in err


def test_a_full_disk_is_reported_with_its_free_space(command, tmp_path, monkeypatch):
    def full(path, flags):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "rows.jsonl").write_text(row().to_line())
    monkeypatch.setattr("encoders.files._fsync", full)
    code, _, err = command("table", tmp_path / "rows.jsonl", "--out", tmp_path / "table.txt")
    assert code == 2 and "table.txt cannot be written (No space left on device, " in err and "MiB free)" in err
    monkeypatch.setattr(os, "fsync", lambda descriptor: full(None, None))
    monkeypatch.setattr(latency_commands, "run_lab", lambda models, settings, *, keep, say: keep([row()]))
    code, _, err = command(*SMALL, "--out", tmp_path / "latency.jsonl")
    assert code == 2 and "latency.jsonl cannot be written (No space left on device, " in err
    code, printed, err = command(*SMALL, "--json", "--out", tmp_path / "latency.jsonl")
    assert code == 2 and [one["model"] for one in json.loads(printed)] == [row().model], "what was measured is printed"


def test_a_runtime_that_is_not_installed_names_its_extra(command, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    code, _, err = command(*SMALL, "--runtime", "openvino", "--out", tmp_path / "latency.jsonl")
    assert code == 2 and "pip install 'repvit-sam[openvino]'" in err


def test_a_busy_machine_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "LOADED", -1.0)
    code, _, err = command("--untrained", "repvit_m0_6", "--image-size", 64, "--out", tmp_path / "latency.jsonl")
    assert code == 2 and "--allow-loaded" in err


def test_a_failed_row_makes_the_command_fail_after_all_rows(command, tmp_path, monkeypatch):
    rows = [row(), row(model="big", how="failed", p50_ms=None, note="out of memory")]
    monkeypatch.setattr(latency_commands, "run_lab", lambda *given, **more: rows)
    code, out, _ = command(*SMALL, "--out", tmp_path / "latency.jsonl")
    assert code == 1 and "failed" in out and "412" in out


@pytest.mark.slow  # about 10 s on an idle core: a command of its own, ended from outside
def test_a_request_to_end_leaves_what_was_measured(tmp_path):
    out = tmp_path / "latency.jsonl"
    script = (
        "from distill.cli import app as cli, latency as latency_commands; "
        "any(g.name == 'latency' for g in cli.app.registered_groups) or latency_commands.register(cli.app); cli.main()"
    )
    process = start_script(script, "latency", *SMALL[:-3], "--rounds", 10_000, "--allow-loaded", "--out", out)
    try:
        for line in process.stderr:
            if line.startswith("round 4 "):
                process.terminate()
                break
        process.communicate(timeout=60)
    finally:
        process.kill()
    rows = read_rows(out)
    assert [(one.runtime, one.complete) for one in rows] == [("torch", False), ("torch_fused", False)]
    assert all(len(one.round_ms) >= 2 for one in rows) and process.returncode != 0


def start_script(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def files(tmp_path):
    """Rows of a server and of a Mac, and results of eval."""
    server, mac, results = tmp_path / "server.jsonl", tmp_path / "mac.jsonl", tmp_path / "results.jsonl"
    server.write_text(row().to_line() + row(model="tiny", p50_ms=910.0).to_line())
    mac.write_text(row(runtime="coreml", device="a Mac", threads=None, p50_ms=44.8).to_line())
    common = {"suite": "box", "version": "1", "protocol": "p", "dataset": "val", "n": 9}
    write_results(results, [Result(model="ours", value=0.7, **common), Result(model="tiny", value=0.75, **common)])
    return server, mac, results


def test_one_table_holds_the_server_and_the_mac(command, files, tmp_path):
    server, mac, _ = files
    code, out, _ = command("table", server, mac, "--format", "markdown")
    assert code == 0 and "| a Mac |" in out and "| a server |" in out and "48.9 ms" in out
    code, out, _ = command("table", server, mac, "--no-published", "--out", tmp_path / "table.txt")
    written = (tmp_path / "table.txt").read_text()
    assert code == 0 and out == "" and "44.8" in written and "48.9 ms" not in written
    code, out, _ = command("table", server, mac, "--json")
    assert [one["p50_ms"] for one in json.loads(out)] == [412.0, 910.0, 44.8]


def test_tables_of_wrong_files(command, files, tmp_path):
    server, *_ = files
    code, out, err = command("table", tmp_path / "nothing.jsonl")
    assert code == 2 and "nothing.jsonl does not exist" in err and out == ""
    code, _, err = command("table", server, "--format", "html")
    assert code == 2 and "expected one of terminal, markdown, csv, json" in err
    code, _, err = command("table", server, "--out", tmp_path)
    assert code == 2 and "is a folder" in err


def test_a_plot_of_accuracy_against_latency(command, files, tmp_path):
    pytest.importorskip("matplotlib")
    server, mac, results = files
    words = ["plot", "--results", results, "--latency", server, "--out", tmp_path / "plot.png"]
    code, out, err = command(*words)
    assert (code, out.strip(), err) == (0, str(tmp_path / "plot.png"), "")
    assert Image.open(tmp_path / "plot.png").size == (1200, 750)
    code, _, err = command(*words, "--latency", mac, "--device", "a Mac")
    assert code == 0 and "left out, as only one of accuracy and latency is known: tiny" in err
    code, _, err = command(*words, "--part", "decoder")
    assert code == 2 and "no latency of the part 'decoder'" in err
    code, _, err = command(*words, "--image-size", 512)
    assert code == 0 and err == ""  # neither file says its image size
    code, _, err = command(*words, "--no-padding")
    assert code == 2 and "all results are with padding" in err
    for option, message in (("--suite-version", "versions of suite 'box' 1"), ("--protocol", "protocols of suite 'box' p")):
        code, _, err = command(*words, option, "other")
        assert code == 2 and message in err
    code, _, err = command(*words, "--call", "prompts 64")
    assert code == 2 and "--call prompts 64" in err


def test_matplotlib_is_asked_for_when_a_plot_is(command, files, tmp_path, monkeypatch):
    server, _, results = files
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = command("plot", "--results", results, "--latency", server, "--out", tmp_path / "plot.png")
    assert code == 2 and "pip install 'repvit-sam[plots]'" in err
