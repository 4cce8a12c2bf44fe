"""Over 5,000 damaged files of every kind that is read: no traceback, none that takes long, and none of our own used unnoticed.

Run: python -m pytest -m slow tests/test_fault_injection.py (about 5 minutes on 2 cores; prints a table with -s)
"""

import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from distill.checkpoints.checkpoint import save_checkpoint
from distill.checkpoints.checkpoint_files import read_state
from distill.config.reading import find_config, read_config, read_run
from distill.config.runs import PrecomputeConfig
from encoders.samples.image import read_image
from encoders.weights.weights_file import read_weights
from eval_zeroshot import Estimate, Result, read_results, write_results
from eval_zeroshot.results.observations import Observation, ObservationStore
from shards.loading.loader import ShardLoader
from tests.distill.checkpoints.test_damaged_checkpoint import fresh, train
from tests.encoders.weights_damage import WRITERS, small_state
from tests.faults import Outcome, inject
from tests.shards.helpers import standin
from tests.shards.helpers.photos import pair, write_tar

pytestmark = pytest.mark.slow

PHOTO = np.random.default_rng(5).integers(0, 255, (40, 56, 3), np.uint8).repeat(3, 0).repeat(3, 1)
FORMATS = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
}
FOUND: dict[str, Outcome] = {}


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """After the last test, what came of how many mutations."""
    yield
    print("\n| file | mutations | refused | harmless | altered | tracebacks, hangs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in FOUND.items():
        counts = (found.total, *(found.counts[key] for key in ("refused", "harmless", "altered")), len(found.failures))
        print(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    print(f"{sum(found.total for found in FOUND.values())} mutations")


def check(name: str, found: Outcome, *, own: bool) -> None:
    FOUND[name] = found
    assert not found.failures, found.failures[:5]
    assert found.total > 10 and found.counts["refused"]
    if own:
        assert not found.altered, found.altered


def digest(*tensors: torch.Tensor) -> str:
    """sha256 of the bytes of tensors."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.contiguous().numpy().tobytes())
    return sha256.hexdigest()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults")
    tar = write_tar(root / "sa_000007.tar", [member for number in range(6) for member in pair(number)])
    standin.run(tar, root / "cache", samples_per_shard=3)
    return root / "cache"


def samples_of(cache: Path) -> dict[str, str]:
    """Key -> what training would see of each sample: pixels, embedding and record."""
    found = {}
    loader = ShardLoader(cache, batch_size=1, records=True)
    for batch, _ in zip(loader.batches(), range(loader.samples), strict=False):
        found[batch.keys[0]] = digest(batch.pixels, batch.codes, batch.scales) + repr(batch.records)
    return found


@pytest.mark.parametrize(
    ("name", "count", "structured"),
    [("train-000000.tar", 900, False), ("manifest.jsonl", 600, True), ("cache.json", 400, True)],
)
def test_a_cache(cache, name, count, structured):
    expected = samples_of(cache)

    def read() -> Any:
        found = samples_of(cache)
        return {key: value for key, value in found.items() if expected.get(key) != value}  # left out with a note: not altered

    check(name, inject(cache / name, read, count=count, seed=1, structured=structured, head=2048), own=True)


@pytest.mark.parametrize("name", ["state.pt", "state.json"])
def test_a_checkpoint(tmp_path, name):
    engine, ema = fresh()
    train(engine, ema)
    save_checkpoint(tmp_path, step=4, engine=engine, ema=ema, data_id="cache", keep=1)

    def read() -> Any:
        state = read_state(tmp_path / "step_4")
        moments = [value for _, one in sorted(state.optimizer.state.items()) for _, value in sorted(one.items())]
        module, average = (([value for _, value in sorted(each.items())]) for each in (state.module, state.ema.shadow))
        return digest(*module, *moments, *average)

    check(f"checkpoint {name}", inject(tmp_path / "step_4" / name, read, count=400, seed=2), own=True)


@pytest.mark.parametrize("kind", WRITERS)
def test_weights(tmp_path, kind):
    path = tmp_path / "weights.bin"
    WRITERS[kind](small_state(), path)

    def read() -> Any:
        file = read_weights(path)
        return {key: (value.dtype, tuple(value.shape), digest(value)) for key, value in file.tensors.items()}

    check(f"weights, {kind}", inject(path, read, count=300, seed=3), own=kind == "ours")


def test_results(tmp_path):
    given = [
        Result(model=name, suite="box", role="student", value=value, n=40, standard_error=0.01, version="1", protocol="p",
               dataset="d", extra={"small": Estimate(value=0.25, n=9)})
        for name, value in (("a\u2028b", 0.5), ("b", 1 / 3), ("c", 0.75))
    ]  # fmt: skip
    path = tmp_path / "results.jsonl"
    write_results(path, given)

    def read() -> Any:
        return [one for one in read_results(path) if one not in given]  # an unfinished last line is left out with a note

    check("results", inject(path, read, count=600, seed=4, structured=True), own=True)


def test_observations(tmp_path):
    path = tmp_path / "seen.jsonl"
    store = ObservationStore(path, identity={"suite": "box", "version": "1"})
    for key in ("a", "b\u0085", "c"):
        store.add(Observation(key=key, ids=[1, 2], image_sha256="5a" * 32, annotations_sha256="", values={"iou": [0.5, 1 / 3]}))
    store.close()
    given = dict(store.found)

    def read() -> Any:
        again = ObservationStore(path, identity=store.identity)
        again.close()
        return {key: one for key, one in again.found.items() if given.get(key) != one}  # what is missing is asked again

    check("observations", inject(path, read, count=600, seed=5, structured=True), own=True)


CONFIGS = {"quickstart_repvit_m0_6": read_run, "quickstart_precompute": lambda path: read_config(path, PrecomputeConfig)}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(tmp_path, name):
    path = tmp_path / "config.yaml"
    shutil.copyfile(find_config(name), path)
    check(f"config {name}", inject(path, lambda: CONFIGS[name](path), count=300, seed=6), own=False)


@pytest.mark.parametrize("name", FORMATS)
def test_photos(tmp_path, name):
    kind, options = FORMATS[name]
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, format=kind, **options)
    path = tmp_path / f"photo.{name}"
    path.write_bytes(stream.getvalue())
    check(f"photo {name}", inject(path, lambda: read_image(path).tobytes(), count=150, seed=7), own=False)


def test_there_were_enough(table):
    assert sum(found.total for found in FOUND.values()) >= 5000
