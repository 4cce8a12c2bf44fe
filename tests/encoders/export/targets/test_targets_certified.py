"""Each tool's files through the job: certified by the tool's own calls, and verified again.

What the tools themselves make of the files is in the other modules of this folder; docs/export_tools.md says how to run those
that need a tool's own package.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from encoders.errors import InputError, InputWarning
from encoders.export import ExportRequest, export_model, verify_export
from encoders.export.targets.onnxruntime_web import FILES, find_onnxruntime_web
from encoders.export.targets.web import PAGE_FILES
from encoders.samples.sample import Sample

MODELS = {"encoder.onnx", "decoder.onnx", "README.md"}
TOOLS = {
    "segment-anything": MODELS,
    "x-anylabeling": {"config.yaml", *MODELS},
    "x-anylabeling-edge-sam": {"config.yaml", *MODELS},
    "anylabeling": {"model.zip", "README.md"},
    "osam": {"repvit_sam_osam.py", *MODELS},
    "transformers.js": {
        "config.json", "preprocessor_config.json", "README.md", "onnx/vision_encoder.onnx",
        "onnx/prompt_encoder_mask_decoder.onnx",
    },
    "python": {"segment.py", "requirements.txt", *MODELS},
    "web": {*PAGE_FILES, *(f"ort/{name}" for name in FILES.values()), "ort/LICENSE.txt", "model.json", "_headers", *MODELS},
    "apple-segmenter": {"metadata.json", "README.md"},  # and the asset, a folder
}  # fmt: skip


def need(tool: str) -> None:
    """Skip, with the reason, where a tool's files cannot be written or run here."""
    packages = ("coreai", "coreai_torch") if tool == "apple-segmenter" else ("onnxscript", "onnxruntime")
    for package in packages:
        pytest.importorskip(package)
    if tool == "web":
        try:
            find_onnxruntime_web()
        except InputError as error:
            pytest.skip(str(error))


@pytest.fixture
def lit_photos(export_photos) -> list[Sample]:
    """Photos without black edges, which X-AnyLabeling's encoder treats as padding."""
    return [replace(sample, image=np.maximum(sample.image, 1)) for sample in export_photos]


@pytest.mark.slow  # 10 to 20 s of one core for each tool
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_files_are_certified_and_verified(tool, live_sam, lit_photos, tmp_path):
    need(tool)
    out = tmp_path / "out"
    given = {"out": out, "target": tool, "samples": lit_photos, "weights": "live", "trained": False, "threads": 1}
    made = export_model(ExportRequest(sam=live_sam, **given))
    assert made.format == ("coreai" if tool == "apple-segmenter" else "onnx") and made.target == tool
    assert {name for name in made.files if ".aimodel" not in name} == TOOLS[tool] | {"reference.json"}
    assert made.runtimes[0].measures.iou_min > 0.999 and made.runtimes[0].how == "executed"
    assert verify_export(out, lit_photos, threads=1).runtime.measures.iou_min > 0.999


@pytest.mark.slow  # writes a model of 1024 px: about half a minute
def test_cvats_files_are_certified_and_verified(export_photos, tmp_path):
    need("cvat")
    from encoders.export.untrained import untrained_subject

    sam = untrained_subject("repvit_m0_6", image_size=1024)
    given = {"out": tmp_path / "out", "target": "cvat", "samples": export_photos[:1], "weights": "live", "trained": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        made = export_model(ExportRequest(sam=sam, **given))
    files = {"function.yaml", "main.py", "segment.py", *MODELS, "reference.json"}
    assert made.files.keys() == files and made.runtimes[0].measures.iou_min > 0.999
    assert verify_export(tmp_path / "out", export_photos).runtime.measures.iou_min > 0.999


def test_every_tool_is_certified_here():
    from encoders.export.targets import TARGETS

    assert {*TOOLS, "cvat"} == set(TARGETS)
