"""What all rooms share: the real data beside the checkout, where there is any."""

import gc
import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.longest import longest_first

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # weights come from files; a test that asks a hub is wrong
# Images are small here: more threads only wait for each other, all the more where tests run in several processes.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the worker has inherited what pytest's own process set below
else:
    os.environ.setdefault("OMP_NUM_THREADS", "2")
torch.set_num_threads(min(int(os.environ["OMP_NUM_THREADS"]), torch.get_num_threads()))


def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest-xdist from sorting files by their number of tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported; walking it again and again is 8 % of an export's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real photos, annotations and known answers; the test is skipped where there is none."""
    folder = Path(os.environ.get("REPVIT_SAM_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set REPVIT_SAM_SHARED")
    return folder


class _KeptProgram:
    """What `torch.onnx.export` returns, as far as it is used here; `kept` is where its file lies between tests."""

    def __init__(self, kept: Path, program: Any = None) -> None:
        self.kept, self.program = kept, program
        self.model = SimpleNamespace() if program is None else program.model

    def save(self, path: str, **options: Any) -> None:
        if self.program is not None:
            self.program.save(path, **options)
            part = self.kept.with_suffix(f".{os.getpid()}")
            shutil.copy(path, part)
            part.replace(self.kept)  # the other worker reads it too
        else:
            shutil.copy(self.kept, path)


class _KeyPickler(pickle.Pickler):
    """Pickles tensors by their values, so that equal modules give equal bytes."""

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, torch.Tensor):
            return None
        values = obj.detach().cpu().contiguous()
        digest = hashlib.sha256(values.flatten().view(torch.uint8).numpy()) if values.numel() else hashlib.sha256()
        return str(obj.dtype), tuple(obj.shape), obj.stride(), digest.hexdigest()


def _key_of(*given: Any) -> str | None:
    """The same text for equal modules and arguments; None where they cannot be pickled."""
    file = io.BytesIO()
    try:
        _KeyPickler(file).dump(given)
    except Exception:  # whatever an object's own pickling raises
        return None
    return hashlib.sha256(file.getvalue()).hexdigest()


@pytest.fixture(scope="session", autouse=True)
def _onnx_exports_are_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let torch export an equal module once a session: a mask decoder takes it 9 s, and many files need the same one."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "onnx_exports"
    folder.mkdir(exist_ok=True)
    export = torch.onnx.export

    def exported(module: torch.nn.Module, example: Any, **options: Any) -> Any:
        key = _key_of(module, example, {name: repr(value) for name, value in options.items()})
        if key is None:
            return export(module, example, **options)
        kept = folder / f"{key}.onnx"
        return _KeptProgram(kept, None if kept.exists() else export(module, example, **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", exported)
        yield
