"""A small cache of photos of which some have annotations, and runs of the prompt stage on it."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import encoders
import shards
from tests.distill.prompt_stage.photos import PHOTOS, SIZE, block, write_coco


@pytest.fixture(scope="session")
def annotated_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos of a bright block each through sam_demo at 64 px; the last two have no annotation."""
    root = tmp_path_factory.mktemp("prompted")
    (root / "images").mkdir()
    for number in range(PHOTOS):
        image, _ = block(number)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
    write_coco(root / "instances.json")
    shards.precompute(
        shards.open_source(str(root / "instances.json"), images=root / "images"),
        teacher=encoders.load("sam_demo", image_size=SIZE),
        teacher_name="sam_demo",
        teacher_sha256=encoders.weights_sha256("sam_demo"),
        out=root / "cache",
        samples_per_shard=3,
        batch_size=2,
    )
    return root / "cache"


@pytest.fixture(scope="session")
def prompt_settings(annotated_cache: Path) -> dict[str, Any]:
    """The config of a tiny run of the prompt stage, without a folder."""
    return {
        "name": "prompted",
        "stage": "prompt",
        "model": {"arch": "repvit_m0_6", "image_size": SIZE},
        "teacher": {"model": "sam_demo"},
        "data": {"cache": str(annotated_cache), "num_workers": 0},
        "prompts": {"per_photo": 4, "min_pixels": 4, "rounds": 2, "min_score": 0.0},
        "mask_loss": {"truth": 0.5},
        "optim": {"lr": 0.002},
        "schedule": {"steps": 6, "warmup_steps": 1},
        "global_batch": 4,
        "checkpoint": {"every_steps": 2, "keep": 2},
        "log": {"every_steps": 1},
    }
