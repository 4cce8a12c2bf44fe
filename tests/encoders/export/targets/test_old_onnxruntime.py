"""Files that ONNX Runtime 1.15 to 1.17 open too: tools allow them, and they read no newer IR version than 9."""

import shutil

import pytest

import encoders
from encoders.export.formats.onnx import OnnxFormat, store_weights

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow  # 15 s: an export of its own
NAMES = ["encoder.onnx", "decoder.onnx"]


@pytest.fixture(scope="module")
def folder(live_sam, tmp_path_factory):
    """An export at 64 px, about 10 s."""
    made = tmp_path_factory.mktemp("onnx")
    OnnxFormat().write(encoders.fuse(live_sam), made, precision="fp32")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_the_ir_version_of_its_opset(folder, name):
    assert onnx.load(folder / name).ir_version == 8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_storing_weights_in_fewer_bits_keeps_the_ir_version(folder, tmp_path, name, precision):
    path = tmp_path / name
    shutil.copy(folder / name, path)
    store_weights(path, precision=precision)
    assert path.stat().st_size < 0.8 * (folder / name).stat().st_size
    assert onnx.load(path).ir_version == 8
