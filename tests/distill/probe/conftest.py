"""A cache of real photos with masks, in two views each, through sam_demo at 128 px, and another without annotations."""

from pathlib import Path

import pytest
import torch

import encoders
import shards
from distill.jobs.sample_data import resolve_data


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are then taken in one order
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def teacher() -> encoders.Sam:
    return encoders.load("sam_demo", image_size=128)


def make_cache(out: Path, *, teacher: encoders.Sam, photos: int, views: int, masks: bool) -> Path:
    spec, names = resolve_data("sample:train"), out.with_suffix(".txt")
    keys = [item.key for item in shards.open_source(str(spec if masks else spec.parent / "images")).items()]
    names.write_text("\n".join(keys[:photos] if masks else keys[-photos:]))
    source = shards.open_source(str(spec if masks else spec.parent / "images"), names=names)
    shards.precompute(
        shards.ViewSource(source, views=views) if views > 1 else source,
        teacher=teacher,
        teacher_name="sam_demo",
        teacher_sha256=encoders.weights_sha256("sam_demo"),
        out=out,
        samples_per_shard=7,
        codec_gate=False,
        batch_size=4,
    )
    return out


@pytest.fixture(scope="session")
def photo_cache(tmp_path_factory: pytest.TempPathFactory, teacher) -> Path:
    """12 photos with masks, two views each."""
    return make_cache(tmp_path_factory.mktemp("probe") / "cache", teacher=teacher, photos=12, views=2, masks=True)


@pytest.fixture(scope="session")
def bare_cache(tmp_path_factory: pytest.TempPathFactory, teacher) -> Path:
    """Three other photos without masks."""
    return make_cache(tmp_path_factory.mktemp("probe") / "bare", teacher=teacher, photos=3, views=1, masks=False)
