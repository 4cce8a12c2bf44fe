"""Each tool's files through the job: certified by the tool's own calls, and verified again."""

import warnings

import pytest

from encoders.errors import InputWarning
from encoders.export import ExportRequest, export_model, verify_export

TOOLS = {
    "segment-anything": {"encoder.onnx", "decoder.onnx", "README.md"},
    "x-anylabeling": {"config.yaml", "encoder.onnx", "decoder.onnx", "README.md"},
    "x-anylabeling-edge-sam": {"config.yaml", "encoder.onnx", "decoder.onnx", "README.md"},
    "anylabeling": {"model.zip", "README.md"},
    "osam": {"repvit_sam_osam.py", "encoder.onnx", "decoder.onnx", "README.md"},
    "transformers.js": {
        "config.json", "preprocessor_config.json", "README.md", "onnx/vision_encoder.onnx",
        "onnx/prompt_encoder_mask_decoder.onnx",
    },
    "python": {"segment.py", "requirements.txt", "encoder.onnx", "decoder.onnx", "README.md"},
}  # fmt: skip


@pytest.mark.slow  # about 10 s of one core for each tool
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_files_are_certified_and_verified(tool, live_sam, export_photos, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    given = {"out": out, "target": tool, "samples": export_photos, "weights": "live", "trained": False, "threads": 1}
    made = export_model(ExportRequest(sam=live_sam, **given))
    assert made.format == "onnx" and made.target == tool and made.files.keys() == TOOLS[tool] | {"reference.json"}
    assert made.runtimes[0].measures.iou_min > 0.999 and made.runtimes[0].how == "executed"
    assert verify_export(out, export_photos, threads=1).runtime.measures.iou_min > 0.999


@pytest.mark.slow  # writes a model of 1024 px: about half a minute
def test_cvats_files_are_certified_and_verified(export_photos, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from encoders.export.untrained import untrained_subject

    sam = untrained_subject("repvit_m0_6", image_size=1024)
    given = {"out": tmp_path / "out", "target": "cvat", "samples": export_photos[:1], "weights": "live", "trained": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        made = export_model(ExportRequest(sam=sam, **given))
    files = {"function.yaml", "main.py", "segment.py", "encoder.onnx", "decoder.onnx", "README.md", "reference.json"}
    assert made.files.keys() == files and made.runtimes[0].measures.iou_min > 0.999
    assert verify_export(tmp_path / "out", export_photos).runtime.measures.iou_min > 0.999
