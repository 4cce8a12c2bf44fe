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
for package in ("encoders", "shards", "eval_zeroshot"):
    exec(f"from {package} import *")
print(json.dumps({
    "registry": registry, "deepspeed": "deepspeed" in sys.modules,
}))
""")
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_no_file_has_the_name_of_an_export_which_it_would_hide(name):
    (folder,) = importlib.import_module(name).__path__
    files = {path.stem for path in Path(folder).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not files & set(importlib.import_module(name).__all__)


def test_files_of_a_package_are_attributes_as_they_always_were(asked):
    assert asked["registry"] == "encoders.registry"


def test_deepspeed_is_not_imported_with_what_the_packages_export(asked):
    assert not asked["deepspeed"]
