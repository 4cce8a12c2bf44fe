"""The package as a user gets it: installed away from the checkout, with its configs, weights and sample."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("configs", "distill", "encoders", "eval_zeroshot", "shards")


@pytest.fixture(scope="module")
def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` lays down, without its dependencies."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():  # setup.cfg, pyproject.toml, LICENSE, README.md
        if path.is_file():
            shutil.copy(path, copy)
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(copy)], check=True)
    return target


def run_installed(installed: Path, *command: str, cwd: Path) -> str:
    """Run a command where only the installed copy can be imported before any other; gives its standard output."""
    environment = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [("-m", "distill"), ("bin/repvit-sam",)])
def test_both_ways_to_call_the_command_line_work_outside_the_checkout(installed, tmp_path, command):
    command = tuple(str(installed / part) if part.startswith("bin/") else part for part in command)
    shown = run_installed(installed, sys.executable, *command, "--help", cwd=tmp_path)
    for name in ("quickstart", "precompute", "distill", "eval", "compare"):
        assert re.search(rf"\b{name}\b", shown), f"{name} is not in the help"


def test_all_that_is_no_code_is_installed_too(installed):
    data = [
        path.relative_to(ROOT)
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and ".tmp" not in path.name
    ]
    assert len(data) > 100  # 96 photos of the sample alone
    assert [path for path in data if not (installed / path).is_file()] == []


def test_only_our_packages_are_installed(installed):
    found = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert found == {*PACKAGES, "bin"}


def test_config_sample_and_teacher_are_found_outside_the_checkout(installed, tmp_path):
    code = """
import distill.config.folder, distill.config.runs, distill.jobs.sample_data, encoders
from eval_zeroshot import open_dataset
print(distill.config.runs.__file__)
print(sorted(path.name for path in distill.config.folder.CONFIGS.glob("quickstart_*.yaml")))
print(len(open_dataset(distill.jobs.sample_data.resolve_data("sample:val"))))
print(type(encoders.load("sam_demo")).__name__)
"""
    lines = run_installed(installed, sys.executable, "-c", code, cwd=tmp_path).splitlines()
    assert lines[0].startswith(str(installed))
    assert "quickstart_precompute.yaml" in lines[1]
    assert lines[2:] == ["32", "Sam"]


@pytest.mark.parametrize(
    "command, shown",
    [
        ("--version", "repvit-sam 0."),
        ("configs", "quickstart_precompute"),
        ("models", "repvit_m2_3"),
        ("doctor", "sam_demo: there"),
    ],
)
def test_what_answers_at_once_answers_outside_the_checkout(installed, tmp_path, command, shown):
    assert shown in run_installed(installed, sys.executable, "-m", "distill", command, cwd=tmp_path)


def test_torch_and_deepspeed_are_imported_only_where_they_are_needed():
    code = "import sys, encoders, shards, eval_zeroshot, distill.cli.app; print({'torch', 'deepspeed'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_tested_versions_satisfy_what_the_package_asks_for(metadata):
    pinned = {}
    for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pinned[canonical(requirement.name)] = next(iter(requirement.specifier)).version
    extras = metadata["options.extras_require"]
    asked = [
        Requirement(line)
        for text in (metadata["options"]["install_requires"], extras["eval"], extras["dev"], extras["teacher"])
        for line in text.split("\n")
        if line
    ]
    assert len(asked) > 20
    unpinned = [str(r) for r in asked if canonical(r.name) not in pinned]
    assert unpinned == []
    refused = [str(r) for r in asked if not r.specifier.contains(pinned[canonical(r.name)])]
    assert refused == []


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
