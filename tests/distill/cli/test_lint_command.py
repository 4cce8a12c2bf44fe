"""`repvit-sam lint-device`: what it prints of models side by side, and what it says where something is wrong."""

import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from distill.cli.lint import SHOWN_TYPES, finding_rows, operation_rows
from encoders.export.device_lint import RULES
from encoders.export.device_lint.report import Finding, LintReport


@pytest.fixture
def lint(command):
    """Exit code, stdout and stderr of `repvit-sam lint-device ARGUMENTS`, in this process."""
    return partial(command, "lint-device")


def report(name, operations, findings=()):
    return LintReport(
        name=name, opset="CoreML7", operations=operations, findings=tuple(findings), named_as_leaving=1, parameter_bytes=1,
        peak_bytes=2, peak_at="conv", written_bytes=3, unknown_sizes=False,
    )  # fmt: skip


def test_models_stand_side_by_side_by_their_most_frequent_types():
    many = {f"kind{place}": 30 - place for place in range(SHOWN_TYPES + 2)}
    rows = operation_rows([report("a", {"conv": 99}), report("b", many)])
    assert rows[0] == ["all", "99", str(sum(many.values()))]
    assert rows[1] == ["conv", "99", "–"]
    assert rows[2] == ["kind0", "–", "30"]
    assert rows[-1] == ["3 other types", "–", str(sum(30 - place for place in (11, 12, 13)))]


def test_rules_that_name_something_in_any_model_are_rows_those_of_leaving_first():
    costs = next(rule for rule in RULES if rule.effect == "costs")
    leaves = next(rule for rule in RULES if rule.effect == "leaves")
    first = report("a", {}, [Finding(costs, {"linear": 4}, ())])
    rows = finding_rows([first, report("b", {}, [Finding(leaves, {"relu": 2}, ())])])
    assert rows == [
        ["leaves, by any rule", "1", "1"],
        [f"leaves: {leaves.name}", "–", "2"],
        [f"costs: {costs.name}", "4", "–"],
    ]


@pytest.fixture
def small_package(tmp_path):
    """A convolution with a dilation, which a rule names."""
    pytest.importorskip("coremltools", reason="writes the package")
    from encoders.export.formats.coreml_convert import convert, need_coremltools, save

    ct = need_coremltools()
    image, output = ct.ImageType(name="image", shape=(1, 3, 32, 64)), ct.TensorType(name="y", dtype=np.float32)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=2, dilation=2), nn.ReLU()).eval()
    model = convert(module, (torch.zeros(1, 3, 32, 64),), inputs=[image], outputs=[output], half=True, target="iOS17")
    save(model, tmp_path / "Small.mlpackage")
    return tmp_path / "Small.mlpackage"


@pytest.mark.slow  # 7 s: a model is converted
def test_a_package_and_a_model_are_linted_side_by_side(lint, small_package):
    code, out, err = lint("--package", small_package, "--untrained", "repvit_m0_6", "--image-size", 64, "--json")
    assert code == 0, err
    found = json.loads(out)
    small, model = found["models"]
    assert (small["model"], model["model"]) == ("Small.mlpackage", "untrained repvit_m0_6 64 px")
    assert small["operations"] == {"cast": 2, "conv": 1, "relu": 1} and small["total_operations"] == 4
    assert model["operations"]["conv"] == 72 and "matmul" not in model["operations"]
    assert model["parameter_bytes"] > 5e6 and model["peak_activation_bytes"] < model["written_activation_bytes"]
    dilated = next(finding for finding in small["findings"] if finding["rule"] == "dilated convolution")
    assert (dilated["effect"], dilated["operations"]) == ("leaves", {"conv": 1})
    assert dilated["url"].startswith("https://github.com/hollance/") and "possibly wrong" in dilated["standing"]
    assert "Nothing was run" in found["says"]


def test_the_table_has_counts_bytes_rules_and_what_they_do_not_say(lint, small_package):
    code, out, err = lint("--package", small_package)
    assert code == 0, err
    for part in (
        "Small.mlpackage",
        "cast -> fp32 (1, 8, 32, 64)",
        "leaves: dilated convolution",
        "possibly wrong",
        "Nothing was run",
    ):
        assert part in " ".join(out.split())


def test_nothing_to_lint_a_missing_package_and_a_wrong_part_are_told(lint, tmp_path):
    code, out, err = lint("--json")
    assert (code, out) == (2, "") and "give --model, --untrained or --package" in err
    code, out, err = lint("--package", tmp_path / "none.mlpackage")
    assert (code, out) == (2, "") and "does not exist or is not a folder" in err and "Traceback" not in err
    code, out, err = lint("--untrained", "repvit_m0_7", "--image-size", 64)
    assert code == 2 and "unknown model 'repvit_m0_7'" in err
    code, out, err = lint("--untrained", "repvit_m0_6", "--image-size", 64, "--part", "neck")
    assert code == 2 and "expected one of encoder, decoder" in err


def test_without_coremltools_the_extra_is_named(lint, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "coremltools"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "coremltools", None)
    code, out, err = lint("--untrained", "repvit_m0_6", "--image-size", 64, "--json")
    assert (code, out) == (2, "")
    assert "coremltools is not installed" in err and "repvit-sam[coreml]" in err
