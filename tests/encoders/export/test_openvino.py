"""What `--format openvino` writes, and that it computes in the precision that it says."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError, MissingExtra
from encoders.export.certifying import contract_image
from encoders.export.formats.openvino import (
    OpenVinoFormat,
    compile_model,
    convert,
    core,
    effective_precision,
    save,
)
from tests.encoders.export.sam_onnx_reference import CASES, decoder_inputs, expected_outputs

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def folder(live_sam, tmp_path_factory):
    """An export of the fused model, about 10 s."""
    made = tmp_path_factory.mktemp("openvino")
    OpenVinoFormat().write(encoders.fuse(live_sam), made, precision="fp32")
    return made


@pytest.fixture(scope="module")
def runtime(folder, live_sam):
    return OpenVinoFormat().open(folder, image_size=live_sam.image_size, precision="fp32", threads=1)


@pytest.fixture(scope="module")
def decoder(folder):
    return compile_model(folder / "decoder.xml", threads=1)


def test_names_and_shapes_are_those_of_the_onnx_format(folder):
    encoder, decoder = (core().read_model(str(folder / name)) for name in ("encoder.xml", "decoder.xml"))
    assert [(port.any_name, str(port.partial_shape)) for port in (*encoder.inputs, *encoder.outputs)] == [
        ("image", "[1,3,64,64]"),
        ("image_embeddings", "[1,256,4,4]"),
    ]
    assert [(port.any_name, str(port.partial_shape)) for port in decoder.inputs] == [
        ("image_embeddings", "[1,256,4,4]"),
        ("point_coords", "[?,?,2]"),
        ("point_labels", "[?,?]"),
        ("mask_input", "[1,1,16,16]"),
        ("has_mask_input", "[1]"),
        ("orig_im_size", "[2]"),
    ]
    assert [port.any_name for port in decoder.outputs] == ["masks", "iou_predictions", "low_res_masks"]


@torch.inference_mode()
def test_embeddings_are_those_of_the_unfused_model(runtime, live_sam, export_photos):
    for sample in export_photos:
        image = contract_image(sample.image, image_size=live_sam.image_size)
        np.testing.assert_allclose(runtime.encode(image.numpy()), live_sam.image_encoder(image).numpy(), atol=1e-4)


def test_an_embedding_stays_as_it_was_when_the_next_photo_is_encoded(runtime):
    first = runtime.encode(np.ones((1, 3, 64, 64), np.float32))
    kept = first.copy()
    runtime.encode(np.zeros((1, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(("prompts", "points", "has_mask", "shape"), CASES)
def test_the_decoder_answers_as_segment_anythings_own_model(decoder, live_sam, prompts, points, has_mask, shape):
    given = decoder_inputs(prompts=prompts, points=points, has_mask=has_mask, shape=shape, image_size=live_sam.image_size)
    found = decoder(given)
    for name, expected in zip(("masks", "iou_predictions", "low_res_masks"), expected_outputs(live_sam, given), strict=True):
        np.testing.assert_allclose(found[name], expected, atol=1e-4)


def test_it_computes_in_fp32_also_where_the_cpu_would_take_bf16(runtime, folder):
    assert runtime.precision == "fp32"
    assert effective_precision(runtime._decoder) == "fp32"


def test_the_precision_is_what_the_compiled_model_says_not_what_was_asked_for(folder, live_sam):
    asked = OpenVinoFormat().open(folder, image_size=live_sam.image_size, precision="bf16", threads=1)
    able = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert asked.precision == ("bf16" if able else "fp32")
    assert effective_precision(asked._decoder) == "fp32"


@pytest.mark.parametrize("name", ["encoder.xml", "encoder.bin", "decoder.xml", "decoder.bin"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_file_is_named(folder, tmp_path, name, damage):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / name
    if damage == "cut":
        broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    else:
        broken.unlink()
    with pytest.raises(InputError, match=name.split(".")[0]):
        OpenVinoFormat().open(tmp_path, image_size=64, precision="fp32")


@pytest.mark.slow  # 5 s: a process of its own
@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux does OpenVINO set an alternative signal stack")
def test_the_process_survives_signals_after_a_model_was_closed(folder):
    script = """
import gc, pathlib, signal, subprocess, sys
from encoders.export.formats.openvino import OpenVinoFormat
signal.signal(signal.SIGCHLD, lambda *_: None)
runtime = OpenVinoFormat().open(pathlib.Path(sys.argv[1]), image_size=64, precision="fp32", threads=1)
del runtime
gc.collect()
subprocess.run([sys.executable, "-c", ""], check=True)
"""
    assert subprocess.run([sys.executable, "-c", script, str(folder)]).returncode == 0


def test_without_openvino_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)
    for attempt in (
        lambda: convert(nn.Identity().eval(), example=(torch.zeros(1),), inputs=("x",), outputs=("y",)),
        lambda: compile_model(tmp_path / "encoder.xml"),
    ):
        with pytest.raises(MissingExtra, match=r"repvit-sam\[openvino\]"):
            attempt()


def test_an_operation_that_openvino_does_not_know_is_named():
    class Unusual(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j1(x)

    with pytest.raises(InputError, match="bessel_j1"):
        convert(Unusual().eval(), example=(torch.zeros(2),), inputs=("x",), outputs=("y",))


def test_a_model_in_train_mode_is_refused():
    with pytest.raises(InputError, match="train mode"):
        convert(nn.BatchNorm2d(3), example=(torch.zeros(1, 3, 8, 8),), inputs=("image",), outputs=("y",))


@pytest.mark.parametrize(("precision", "kinds"), [("fp16", {"f16", "f32"}), ("int8", {"u8", "f16", "f32"})])
def test_large_weights_are_stored_in_fewer_bits_and_the_answer_stays(tmp_path, precision, kinds):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(256, 256, 1), nn.Conv2d(256, 256, 3, padding=1, groups=256), nn.Conv2d(256, 64, 1), nn.ReLU()
    ).eval()
    image = torch.randn(1, 256, 5, 7)
    model = convert(module, example=(image,), inputs=("image",), outputs=("found",))
    save(model, tmp_path / "model.xml", precision=precision)
    written = core().read_model(str(tmp_path / "model.xml"))
    stored = {
        node.get_element_type().get_type_name()
        for node in written.get_ordered_ops()
        if node.get_type_name() == "Constant" and np.prod(node.get_output_shape(0)) >= 2304
    }
    assert stored == kinds
    found = compile_model(tmp_path / "model.xml", threads=1)([image.numpy()])[0]
    np.testing.assert_allclose(found, module(image).detach().numpy(), atol=0.02)
