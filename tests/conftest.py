"""What all rooms share: the real data beside the checkout, where there is any."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # weights come from files; a test that asks a hub is wrong
# Images are small here: more threads only wait for each other, all the more where tests run in several processes.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
torch.set_num_threads(min(int(os.environ["OMP_NUM_THREADS"]), torch.get_num_threads()))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real photos, annotations and known answers; the test is skipped where there is none."""
    folder = Path(os.environ.get("REPVIT_SAM_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set REPVIT_SAM_SHARED")
    return folder
