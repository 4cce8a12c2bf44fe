"""The example of docs/adding_a_model.md, run as it stands there."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from distill.cli.app import main

DOC = Path(__file__).resolve().parent.parent / "docs" / "adding_a_model.md"


@pytest.fixture
def document():
    return DOC.read_text(encoding="utf-8")


@pytest.fixture
def run(document, tmp_path, monkeypatch, capsys):
    """Runs a command line in a folder that has the document's my_model.py; gives exit code, stdout, stderr."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", document, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "my_model.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part not in ("", ".")])
    monkeypatch.delitem(sys.modules, "my_model", raising=False)

    def call(line):
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as stopped:
            main()
        monkeypatch.delitem(sys.modules, "my_model", raising=False)
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def test_the_documents_command_measures_the_documents_model(document, run):
    (line,) = re.findall(r"^repvit-sam eval .*$", document, flags=re.MULTILINE)
    code, _, err = run(f"{line.replace('--limit 8', '--limit 2')} --image-size 64")
    assert code == 0 and "note:" not in err, err
    mine, demo = (json.loads(line) for line in Path("results.jsonl").read_text().splitlines())
    assert (mine["model"], mine["arch"], mine["model_sha256"], mine["image_size"]) == ("mine", "my_model:build", "0" * 64, 256)
    assert demo["model"] == "sam_demo" and mine["n"] == demo["n"] > 0
    assert 0 < mine["value"] < 1 and mine["against"] == "sam_demo" and "predicted_iou" not in mine["extra"]


def test_a_class_serves_and_without_checksum_a_note_says_what_follows(run, tmp_path):
    path = tmp_path / "my_model.py"
    path.write_text(re.sub(r"    weights_sha256.*\n", "", path.read_text()))
    code, out, err = run("repvit-sam eval -m my_model:MyPredictor -s box --data sample:val --limit 1 --json")
    assert code == 0 and "no attribute weights_sha256" in err, err
    result = json.loads(out)
    assert (result["model"], result["arch"], result["model_sha256"]) == ("my_model:MyPredictor", "my_model:MyPredictor", None)
