"""What `--format executorch` writes. Lowering needs an environment of its own, as executorch pins other packages:

    python3 -m venv venv_executorch && venv_executorch/bin/pip install -e '.[executorch]' pytest
    venv_executorch/bin/python -m pytest -m slow tests/encoders/export/test_executorch.py
"""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError, MissingExtra
from encoders.export.certifying import contract_image
from encoders.export.formats.executorch import ExecuTorchFormat, ExecuTorchRuntime, lower, open_method

needs_executorch = pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="executorch is not installed")


@pytest.fixture(scope="module")
def folder(live_sam, tmp_path_factory):
    """An export of the fused model, about a minute on one core."""
    made = tmp_path_factory.mktemp("executorch")
    ExecuTorchFormat().write(encoders.fuse(live_sam), made, precision="fp32")
    return made


@pytest.fixture(scope="module")
def runtime(folder, live_sam):
    return ExecuTorchFormat().open(folder, image_size=live_sam.image_size, precision="fp32")


@needs_executorch
@pytest.mark.slow
@torch.inference_mode()
def test_embeddings_are_those_of_the_unfused_model(runtime, live_sam, export_photos):
    images = [contract_image(sample.image, image_size=live_sam.image_size) for sample in export_photos]
    found = [runtime.encode(image.numpy()) for image in images]  # all before the first is looked at: none may be overwritten
    for image, embedding in zip(images, found, strict=True):
        np.testing.assert_allclose(embedding, live_sam.image_encoder(image).numpy(), atol=1e-4)


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("points", [2, 3, 7, 16, 2])
@torch.inference_mode()
def test_prompts_of_any_number_of_points_are_decoded_as_pytorch_does(runtime, live_sam, points):
    generator = np.random.default_rng(points)
    embedding = generator.standard_normal((1, 256, 4, 4), np.float32)
    coords = (generator.random((3, points, 2)) * [64, 20]).astype(np.float32)
    labels = np.resize(np.asarray([1, 0, 1, 1, 0], np.int64), (3, points))
    # A last point of label -1 is what segment-anything itself adds to points without a box.
    padded = np.concatenate([labels[:, :-1], np.full((3, 1), -1)], axis=1)
    logits, scores = runtime.decode(embedding, np.concatenate([coords[:, :-1], np.zeros((3, 1, 2))], axis=1), padded)
    expected_logits, expected_scores = live_sam.decode_all(
        torch.from_numpy(embedding),
        image_index=torch.zeros(3, dtype=torch.int64),
        points=torch.from_numpy(coords[:, :-1]),
        labels=torch.from_numpy(labels[:, :-1]),
    )
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(scores, expected_scores.numpy(), atol=1e-4)


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["encoder.pte", "decoder.pte"])
@pytest.mark.parametrize("damage", ["text", "missing"])
def test_a_damaged_file_is_named(folder, tmp_path, name, damage):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if damage == "text":
        (tmp_path / name).write_text("no program")
    else:
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=name):
        ExecuTorchFormat().open(tmp_path, image_size=64, precision="fp32")


@needs_executorch
@pytest.mark.slow
def test_a_model_in_train_mode_is_refused():
    with pytest.raises(InputError, match="train mode"):
        lower(nn.BatchNorm2d(3), example=(torch.zeros(1, 3, 8, 8),))


def unopened_runtime() -> ExecuTorchRuntime:
    return object.__new__(ExecuTorchRuntime)


@pytest.mark.parametrize("points", [1, 17])
def test_a_prompt_of_too_few_or_too_many_points_is_refused_with_the_limits(points):
    with pytest.raises(InputError, match=rf"2 to 16 points a prompt, got {points}"):
        unopened_runtime().decode(
            np.zeros((1, 256, 4, 4), np.float32), np.zeros((2, points, 2), np.float32), np.ones((2, points), np.int64)
        )


def test_masks_of_an_earlier_round_are_refused():
    with pytest.raises(InputError, match="no masks of an earlier round"):
        unopened_runtime().decode(
            np.zeros((1, 256, 4, 4), np.float32),
            np.zeros((1, 2, 2), np.float32),
            np.ones((1, 2), np.int64),
            np.zeros((1, 1, 16, 16), np.float32),
        )


def test_without_executorch_the_extra_is_named(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "executorch", None)
    for attempt in (lambda: lower(nn.Identity().eval(), example=(torch.zeros(1),)), lambda: open_method(tmp_path / "x.pte")):
        with pytest.raises(MissingExtra, match=r"repvit-sam\[executorch\]"):
            attempt()
