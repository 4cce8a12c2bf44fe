"""The examples of docs/adding_a_suite.md, run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from eval_zeroshot.datasets import opening as datasets
from eval_zeroshot.suites import registry

DOC = Path(__file__).resolve().parent.parent / "docs" / "adding_a_suite.md"
MOST_LINES = 40


@pytest.fixture
def blocks():
    return re.findall(r"^```python\n(.*?)^```$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def run_doc(blocks, tmp_path, monkeypatch, capsys):
    """Runs all blocks after another on two drawn photos of 60 x 100; gives what they defined and printed."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name, corner in (("a", (10, 60)), ("b", (25, 15))):
        mask = np.zeros((60, 100), np.uint8)
        mask[corner[0] : corner[0] + 20, corner[1] : corner[1] + 30] = 255
        Image.fromarray(np.stack([mask, 255 - mask, mask], axis=2)).save(folder / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(folder / f"{name}.png")
    monkeypatch.setattr(datasets, "OPENERS", datasets.OPENERS[:])
    monkeypatch.setattr(registry, "SUITES", dict(registry.SUITES))
    monkeypatch.chdir(tmp_path)

    def run():
        names: dict = {"__name__": "adding_a_suite"}
        for block in blocks:
            exec(compile(block, str(DOC), "exec"), names)
        return names, capsys.readouterr().out

    return run


def test_each_example_is_short(blocks):
    assert len(blocks) == 3
    assert all(len(block.splitlines()) < MOST_LINES for block in blocks)


def test_both_examples_appear_in_the_table(run_doc):
    names, out = run_doc()
    assert "#### loose_box on pairs, n = 2" in out and "#### box on pairs, n = 2" in out
    table = out[out.index("#### loose_box") :]
    (row,) = [line for line in table.splitlines() if line.startswith("| filled box")]
    assert "| 0.694 |" in row  # 20 x 30 pixels in a filled box of 24 x 36: 600 / 864
    assert any(line.startswith("| sam_demo ") for line in table.splitlines())
    assert Path("results.jsonl").is_file() and len(list(Path("results.state").glob("*.jsonl"))) == 4
    assert names["LooseBox"]().version == "1"


def test_no_kind_of_data_set_has_a_name_twice():
    known = datasets.OPENERS[-1]
    with pytest.raises(InputError, match="there is a kind of data set called coco already; give yours another name"):
        datasets.register_dataset(known)


def test_the_example_data_set_is_found_and_missed_like_the_others(run_doc, tmp_path):
    run_doc()
    assert datasets.open_dataset(tmp_path / "pairs").name == "pairs"
    with pytest.raises(InputError, match=r"does not exist.*Pairs: put NAME\.jpg"):
        datasets.open_dataset(tmp_path / "nowhere" / "pairs")
    (tmp_path / "pairs" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.jpg has no mask beside it"):
        datasets.open_dataset(tmp_path / "pairs")
