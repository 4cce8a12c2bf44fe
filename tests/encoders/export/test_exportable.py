import importlib
import warnings

import numpy as np
import pytest
import torch

from encoders.export.formats.onnx import write_encoder
from encoders.export.modules import sam_vit as sam_vit_module
from encoders.export.modules.exportable import exportable
from encoders.export.modules.sam_vit import MAX_LOGITS, query_rows
from encoders.export.untrained import untrained_subject
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder, SamVitSize

TINY = SamVitSize(width=24, depth=3, heads=2, global_blocks=(1,))


@pytest.fixture
def tiny(monkeypatch):
    """Makes a ViT of three narrow blocks, every tensor random: tables of rows and of columns differ."""
    monkeypatch.setitem(SAM_VIT_SIZES, "sam_vit_b", TINY)

    def make(size):
        torch.manual_seed(0)
        encoder = SamVitEncoder("sam_vit_b", image_size=size)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.normal_(std=0.3)
        return encoder.eval()

    return make


@torch.no_grad()
def relative_difference(expected, found):
    return (torch.as_tensor(found) - expected).norm() / expected.norm()


@torch.no_grad()
def plain_graph(encoder, size):
    return torch.export.export(encoder, (torch.zeros(1, 3, size, size),)).run_decompositions({}).graph


def results(graph):
    return [node.meta["val"] for node in graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]


@pytest.mark.parametrize("size", [64, 256, 448])  # less than a window, two padded windows a side, two whole ones
@torch.no_grad()
def test_the_embedding_stays_the_same(tiny, size):
    encoder = tiny(size)
    image = torch.randn(2, 3, size, size)
    assert relative_difference(encoder(image), exportable(encoder)(image)) <= 1e-5


@torch.no_grad()
def test_position_tables_count(tiny):
    encoder = tiny(256)
    image = torch.randn(1, 3, 256, 256)
    before = exportable(encoder)(image)
    encoder.blocks[1].attn.rel_pos_w.zero_()
    assert relative_difference(before, exportable(encoder)(image)) > 1e-3


@torch.no_grad()
def test_queries_in_chunks_give_the_same(tiny, monkeypatch):
    encoder = tiny(256)
    image = torch.randn(1, 3, 256, 256)
    whole = exportable(encoder)
    monkeypatch.setattr(sam_vit_module, "MAX_LOGITS", 2 * 4 * 16**3)  # of two heads, four rows of 16 tokens
    chunked = exportable(encoder)
    assert (whole.blocks[1].attn.rows, chunked.blocks[1].attn.rows) == (16, 4)
    assert relative_difference(encoder(image), chunked(image)) <= 1e-5


@pytest.mark.parametrize("name", ["sam_vit_b", "sam_vit_l", "sam_vit_h"])
def test_logits_of_a_global_block_at_1024_pixels_stay_below_the_limit(name):
    heads = SAM_VIT_SIZES[name].heads
    rows = query_rows(64, heads=heads)
    assert rows == 8
    assert heads * rows * 64 * 4096 <= MAX_LOGITS < heads * 4096**2


@pytest.mark.parametrize("size", [64, 256, 448])
def test_the_graph_has_no_alias_and_at_most_five_axes(tiny, size):
    graph = plain_graph(exportable(tiny(size)), size)
    names = {str(node.target) for node in graph.nodes}
    assert "aten.linear.default" in names
    assert not [name for name in names if "alias" in name or "index" in name or "copy" in name]
    assert max(tensor.dim() for tensor in results(graph)) <= 5


def test_the_graph_is_the_same_for_any_number_of_threads(tiny):
    encoder, before = exportable(tiny(256)), torch.get_num_threads()
    graphs = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            graphs.append([str(node.target) for node in plain_graph(encoder, 256).nodes])
    finally:
        torch.set_num_threads(before)
    assert graphs[0] == graphs[1]


def test_weights_are_the_encoders_own(tiny):
    encoder = tiny(64)
    made = exportable(encoder)
    assert not made.training
    own = {parameter.data_ptr() for parameter in encoder.parameters()}
    assert {parameter.data_ptr() for parameter in made.parameters()} <= own


@pytest.mark.parametrize("name", ["repvit_m0_6", "tiny_vit"])
def test_other_encoders_are_returned_as_they_are(name):
    encoder = untrained_subject(name, image_size=64).image_encoder
    assert exportable(encoder) is encoder


@torch.no_grad()
def test_core_ml_converts_it(tiny):
    mlpackage_operations(exportable(tiny(256)), size=256)


@torch.no_grad()
def test_onnx_runtime_gives_the_embedding(tiny, tmp_path):
    encoder, image = tiny(256), torch.randn(1, 3, 256, 256)
    assert relative_difference(encoder(image), by_onnx(exportable(encoder), image, tmp_path)) <= 1e-5


@torch.no_grad()
def test_openvino_gives_the_embedding(tiny):
    encoder, image = tiny(256), torch.randn(1, 3, 256, 256)
    assert relative_difference(encoder(image), by_openvino(exportable(encoder), image)) <= 1e-5


@pytest.mark.slow  # 40 s on one core
@torch.no_grad()
def test_vit_b_converts_and_gives_its_embedding(tmp_path):
    encoder, image = untrained_subject("sam_vit_b", image_size=256).image_encoder, torch.randn(1, 3, 256, 256)
    made, expected = exportable(encoder), encoder(image)
    assert relative_difference(expected, made(image)) <= 1e-5
    assert relative_difference(expected, by_onnx(made, image, tmp_path)) <= 1e-4
    assert relative_difference(expected, by_openvino(made, image)) <= 1e-4
    assert mlpackage_operations(made, size=256) >= {"linear", "matmul", "softmax", "layer_norm", "gelu"}


def by_onnx(encoder, image, folder):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    write_encoder(encoder, folder / "encoder.onnx", image=torch.zeros_like(image))
    session = runtime.InferenceSession(str(folder / "encoder.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image.numpy()})[0]


def by_openvino(encoder, image):
    openvino = pytest.importorskip("openvino")
    program = torch.export.export(encoder, (torch.zeros_like(image),)).run_decompositions({})
    model = openvino.compile_model(openvino.convert_model(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(model([image.numpy()])[0])


def mlpackage_operations(encoder, *, size):
    pytest.importorskip("coremltools")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tools = importlib.import_module("coremltools")
        program = torch.export.export(encoder, (torch.zeros(1, 3, size, size),)).run_decompositions({})
        model = tools.convert(
            program, convert_to="mlprogram", minimum_deployment_target=tools.target.iOS17, skip_model_load=True
        )
    return {operation.op_type for operation in model._mil_program.functions["main"].operations}
