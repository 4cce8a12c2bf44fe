"""A cache knows its teacher by its tensors; caches of earlier versions, which know the file's checksum, still do."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import encoders
from distill.cli.cache import stats_facts
from distill.cli.precompute import teacher_facts
from distill.config.runs import PrecomputeConfig
from encoders.errors import InputError
from encoders.model_names import SHIPPED_WEIGHTS


@pytest.fixture(scope="module")
def same_in_another_file(tmp_path_factory):
    """The shipped teacher's tensors in a .pth."""
    path = tmp_path_factory.mktemp("teacher") / "demo.pth"
    torch.save(load_file(SHIPPED_WEIGHTS["sam_demo"]), path)
    return path


def job(out, teacher="sam_demo", arch=None):
    return PrecomputeConfig.model_validate(
        {"source": {"path": "x"}, "teacher": {"model": str(teacher), "arch": arch}, "out": str(out)}
    )


def recorded(cache, sha256):
    """The cache as if its teacher had been recorded so."""
    old = json.loads((cache / "cache.json").read_text())["teacher_sha256"]
    for path in (cache / "cache.json", cache / "manifest.jsonl"):
        path.write_text(path.read_text().replace(old, sha256))
    return cache


def test_a_new_cache_records_the_tensors(tmp_path, same_in_another_file):
    by_name = teacher_facts(job(tmp_path))["teacher_sha256"]
    by_file = teacher_facts(job(tmp_path, same_in_another_file))["teacher_sha256"]
    assert by_name == by_file == encoders.tensors_sha256("sam_demo") != encoders.weights_sha256("sam_demo")


def test_a_cache_of_an_earlier_version_goes_on_with_the_file_that_made_it(tiny_cache):
    """`tiny_cache` records the file's checksum."""
    assert teacher_facts(job(tiny_cache))["teacher_sha256"] == encoders.weights_sha256("sam_demo")
    assert stats_facts(tiny_cache, samples=1, teacher="sam_demo")["mask_iou"] > 0.99


def test_the_teacher_may_lie_in_another_file(tiny_cache, tmp_path, same_in_another_file):
    with pytest.raises(InputError, match="was made by teacher sam_demo"):  # its file is known by another checksum
        stats_facts(tiny_cache, samples=1, teacher=str(same_in_another_file), arch="sam_demo")
    cache = recorded(shutil.copytree(tiny_cache, tmp_path / "cache"), encoders.tensors_sha256("sam_demo"))
    assert stats_facts(cache, samples=1, teacher=str(same_in_another_file), arch="sam_demo")["mask_iou"] > 0.99
