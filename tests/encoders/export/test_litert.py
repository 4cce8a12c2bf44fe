"""What `--format litert` writes. Converting needs an environment of its own, as litert-torch pins other packages:

    python3 -m venv venv_litert && venv_litert/bin/pip install -e '.[litert]' pytest
    venv_litert/bin/python -m pytest -m slow tests/encoders/export/test_litert.py
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
from encoders.export.formats.litert import LiteRtFormat, LiteRtRuntime, convert, open_interpreter

needs_litert = pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason="litert-torch is not installed")


@pytest.fixture(scope="module")
def folder(live_sam, tmp_path_factory):
    """An export of the fused model, about a minute and a half on one core."""
    made = tmp_path_factory.mktemp("litert")
    LiteRtFormat().write(encoders.fuse(live_sam), made, precision="fp32")
    return made


@pytest.fixture(scope="module")
def runtime(folder, live_sam):
    return LiteRtFormat().open(folder, image_size=live_sam.image_size, precision="fp32", threads=1)


@needs_litert
@pytest.mark.slow
@torch.inference_mode()
def test_embeddings_are_those_of_the_unfused_model(runtime, live_sam, export_photos):
    images = [contract_image(sample.image, image_size=live_sam.image_size) for sample in export_photos]
    found = [runtime.encode(image.numpy()) for image in images]  # all before the first is looked at: none may be overwritten
    for image, embedding in zip(images, found, strict=True):
        np.testing.assert_allclose(embedding, live_sam.image_encoder(image).numpy(), atol=1e-4)


@needs_litert
@pytest.mark.slow
@pytest.mark.parametrize("points", [2, 3, 4, 5, 6, 2])
@torch.inference_mode()
def test_prompts_of_each_number_of_points_are_decoded_as_pytorch_does(runtime, live_sam, points):
    generator = np.random.default_rng(points)
    embedding = generator.standard_normal((1, 256, 4, 4), np.float32)
    boxes = np.asarray([[5, 3, 40, 20], [10, 8, 60, 30], [1, 1, 20, 28]], np.float32)
    coords = (generator.random((3, points - 2, 2)) * [64, 20]).astype(np.float32)
    labels = np.resize(np.asarray([1, 0, 1], np.int64), (3, points - 2))
    logits, scores = runtime.decode(
        embedding,
        np.concatenate([coords, boxes.reshape(3, 2, 2)], axis=1),
        np.concatenate([labels, np.tile(np.asarray([2, 3]), (3, 1))], axis=1),
    )
    some = points > 2
    expected_logits, expected_scores = live_sam.decode_all(
        torch.from_numpy(embedding),
        image_index=torch.zeros(3, dtype=torch.int64),
        points=torch.from_numpy(coords) if some else None,
        labels=torch.from_numpy(labels) if some else None,
        boxes=torch.from_numpy(boxes),
    )
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(scores, expected_scores.numpy(), atol=1e-4)


@needs_litert
@pytest.mark.slow
@pytest.mark.parametrize("name", ["encoder.tflite", "decoder.tflite"])
@pytest.mark.parametrize("damage", ["text", "missing"])
def test_a_damaged_file_is_named(folder, tmp_path, name, damage):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if damage == "text":
        (tmp_path / name).write_text("no model")
    else:
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=name):
        LiteRtFormat().open(tmp_path, image_size=64, precision="fp32")


@needs_litert
@pytest.mark.slow
def test_a_model_in_train_mode_is_refused(tmp_path):
    with pytest.raises(InputError, match="train mode"):
        convert({"encode": (nn.BatchNorm2d(3), (torch.zeros(1, 3, 8, 8),))}, tmp_path / "encoder.tflite")


def unopened_runtime() -> LiteRtRuntime:
    return object.__new__(LiteRtRuntime)


@pytest.mark.parametrize("points", [1, 7])
def test_a_prompt_of_too_few_or_too_many_points_is_refused_with_the_limits(points):
    with pytest.raises(InputError, match=rf"2 to 6 points a prompt, got {points}"):
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


def test_without_the_packages_the_extra_is_named(monkeypatch, tmp_path):
    for package in ("litert_torch", "ai_edge_litert"):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"litert-torch is not installed.*repvit-sam\[litert\]"):
        convert({"encode": (nn.Identity().eval(), (torch.zeros(1),))}, tmp_path / "x.tflite")
    with pytest.raises(MissingExtra, match=r"ai-edge-litert is not installed.*repvit-sam\[litert\]"):
        open_interpreter(tmp_path / "x.tflite")
