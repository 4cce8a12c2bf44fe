"""Keys of a config that messages name exist in a config."""

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from distill.config.runs import EmbeddingRun, MaskRun, PrecomputeConfig, PromptRun
from distill.mask_stage.data import MAX_DRAWS, PromptedPhotos, StepSampler
from encoders.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


def section_of(annotation: Any) -> type[BaseModel] | None:
    options = [annotation, *get_args(annotation)]
    return next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)


def keys_of(kind: type[BaseModel], prefix: str = "") -> set[str]:
    """Dotted keys of a config: sections and what is in them."""
    keys = set()
    for name, field in kind.model_fields.items():
        keys.add(prefix + name)
        section = section_of(field.annotation)
        if section is not None:
            keys |= keys_of(section, f"{prefix}{name}.")
    return keys


KEYS = keys_of(EmbeddingRun) | keys_of(MaskRun) | keys_of(PromptRun) | keys_of(PrecomputeConfig)
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
KEY = re.compile(rf"(?<![\w.]){'(' + '|'.join(sorted(SECTIONS)) + ')'}((?:\.[a-z_]+)+)\b(?!\()")


def texts(file: Path) -> list[str]:
    """Text of a file's messages and docstrings, formatted or not."""
    tree = ast.parse(file.read_text())
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_every_key_that_a_text_of_training_and_precompute_names_exists():
    files = [*ROOT.glob("distill/**/*.py"), *ROOT.glob("shards/**/*.py")]
    assert len(files) > 60
    named = {(match[0], file.name) for file in files for text in texts(file) for match in KEY.finditer(text)}
    assert len({key for key, _ in named}) >= 8
    files_named = (".jsonl", ".json", ".tar", ".md", ".png", ".safetensors")
    unknown = {(key, file) for key, file in named if key not in KEYS and not key.endswith(files_named)}
    assert not unknown


def test_the_keys_that_are_held_up_are_those_of_the_config():
    assert {"mask_data.min_pixels", "data.local_cache_gib", "schedule.steps", "teacher.arch", "source.views"} <= KEYS
    assert KEY.search("under data.sets") and KEY.search("lower data.min_pixels or")[0] not in KEYS


def test_the_mask_stage_names_its_own_keys():
    with pytest.raises(InputError, match="under mask_data.sets"):
        PromptedPhotos([], image_size=64, seed=0, config=None)
    with pytest.raises(InputError, match="lower global_batch"):
        StepSampler(photos=2, batch_size=4, rank=0, world_size=1, start_step=0)
    assert MAX_DRAWS > 1
