"""Packages offer their names without importing what is behind them until it is asked for."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("encoders", "encoders.export", "shards", "eval_zeroshot", "eval_zeroshot.latency")


def printed(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_listed_and_there(name):
    package = importlib.import_module(name)
    assert len(package.__all__) > 5
    assert set(package.__all__) <= set(dir(package))
    for exported in package.__all__:
        assert getattr(package, exported) is not None


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wrong_name_is_an_attribute_error_that_says_where(name):
    package = importlib.import_module(name)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_the_packages_alone_do_not_import_torch():
    assert printed(f"import sys, {', '.join(PACKAGES)}; print('torch' in sys.modules)") == "False"


def test_a_file_does_not_hide_the_function_of_its_name():
    """`import shards.precompute` would otherwise make `shards.precompute` the file."""
    code = "import shards.precompute, shards.verify; from shards import precompute, verify; print(callable(precompute))"
    assert printed(code) == "True"


def test_files_of_a_package_are_attributes_as_they_always_were():
    assert printed("import encoders; print(encoders.registry.__name__)") == "encoders.registry"


def test_a_name_that_was_put_in_place_of_an_export_stays(monkeypatch):
    import shards

    monkeypatch.setattr(shards, "precompute", "another")
    importlib.import_module("shards.precompute")
    assert shards.precompute == "another"
