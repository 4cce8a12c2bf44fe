"""Packages offer their names without importing what is behind them until it is asked for."""

import importlib
import json
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


@pytest.fixture(scope="module")
def asked():
    """What a fresh interpreter found; one for all, as importing torch takes it seconds."""
    return json.loads(
        printed("""
import json, sys
import encoders
registry = encoders.registry.__name__
import shards.pipeline.precompute, shards.verification.verify
from shards import precompute, verify
for package in ("encoders", "shards", "eval_zeroshot"):
    exec(f"from {package} import *")
print(json.dumps({
    "registry": registry, "callable": callable(precompute) and callable(verify), "deepspeed": "deepspeed" in sys.modules,
}))
""")
    )


def test_a_file_does_not_hide_the_function_of_its_name(asked):
    """`import shards.pipeline.precompute` leaves `shards.precompute` the function."""
    assert asked["callable"]


def test_files_of_a_package_are_attributes_as_they_always_were(asked):
    assert asked["registry"] == "encoders.registry"


def test_deepspeed_is_not_imported_with_what_the_packages_export(asked):
    assert not asked["deepspeed"]


def test_a_name_that_was_put_in_place_of_an_export_stays(monkeypatch):
    import shards

    monkeypatch.setattr(shards, "precompute", "another")
    importlib.import_module("shards.pipeline.precompute")
    assert shards.precompute == "another"
