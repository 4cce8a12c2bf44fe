"""Precompute with its teacher on a pretended GPU writes the shards that the CPU writes."""

import numpy as np
import pytest
from PIL import Image

import encoders
import shards
from tests.accelerator.pretend import on_gpu, pretended_gpu
from tests.shards.helpers.standin import standin_teacher


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five photos, none square, two of them upright."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for number in range(5):
        size = (90, 57) if number % 2 else (48, 80)
        photo = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        photo.resize(size, Image.Resampling.BICUBIC).save(folder / f"p{number}.jpg")
    return folder


def made(photos, out, teacher, codec, **options):
    shards.precompute(
        shards.open_source(str(photos)),
        teacher=teacher,
        teacher_name="sam_demo",
        teacher_sha256=encoders.weights_sha256("sam_demo"),
        out=out,
        codec=codec,
        samples_per_shard=3,
        batch_size=2,
        **options,
    )
    return {path.name: path.read_bytes() for path in sorted(out.glob("*")) if path.is_file() and path.name != "progress.jsonl"}


@pytest.mark.parametrize("codec", ["fp16", "int8", "int4"])
def test_shards_equal_the_cpus(photos, tmp_path, codec):
    expected = made(photos, tmp_path / "cpu", encoders.load("sam_demo", image_size=64), codec)
    with pretended_gpu() as counts:
        found = made(photos, tmp_path / "gpu", on_gpu(encoders.load("sam_demo", image_size=64)), codec)
    assert sorted(found) == sorted(expected)
    assert found == expected
    assert counts.kernels["convolution"] > 0


def test_the_host_waits_once_a_batch_for_its_result(photos, tmp_path):
    teacher = on_gpu(standin_teacher(image_size=64))
    with pretended_gpu() as counts:
        made(photos, tmp_path / "gpu", teacher, "int8", codec_gate=False)
    assert counts.to_host == 3  # batches of 2 and 1, and of 2
    assert counts.to_device["pinned"] == 2 * 3  # photos and their sizes
    assert counts.to_device["pageable"] <= 2  # mean and standard deviation of pixels, once a process
    assert not counts.synchronisations
