"""The lint of real models as Core ML programs: their known counts and bytes."""

from collections import Counter

import pytest
import torch
from torch import nn

from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.export.certification.fusion_check import randomize_batchnorm
from encoders.export.untrained import untrained_subject
from encoders.fusion import fuse
from encoders.registry import fresh_sam


@pytest.mark.slow  # about 10 s
def test_the_decoder_is_linted_for_one_box_so_that_all_sizes_are_known():
    pytest.importorskip("coremltools", reason="makes the package")
    from encoders.export.device_lint.convert import lint_model

    report = lint_model(untrained_subject("repvit_m0_6", image_size=64), name="it", part="decoder")
    assert not report.unknown_sizes and report.operations["softmax"] == 7 and report.operations["conv_transpose"] == 2
    assert report.peak_bytes > 4 * 16 * 16 * 2  # the masks alone
    found = {finding.rule.name: finding for finding in report.findings}
    assert "dynamic shape" not in found and "softmax over space" in found
    assert found["fp32"].count >= 3  # the position encoding, which is kept in float32 on purpose


class Normalised(nn.Module):
    """Normalises the pixels before an encoder in two operations; the exported encoder needs five more for exact padding."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1))
        self.register_buffer("factor", 1 / torch.tensor(PIXEL_STD).view(1, 3, 1, 1))

    def forward(self, image):
        return self.encoder((image - self.mean) * self.factor)


LAYER_NORMS = {"sub": 3, "pow": 2, "sqrt": 2, "real_div": 2}  # those of the neck, and the subtraction of the mean
KNOWN = {  # at 1024 px: operations by type, peak and written MB
    "repvit_m0_9": (
        {"conv": 105, "add": 28, "gelu": 27, "reduce_mean": 14, "mul": 11, "relu": 10, "sigmoid": 10, "cast": 1} | LAYER_NORMS,
        31.5,
        557,
        "gelu -> fp16 (1, 96, 256, 256)",
    ),
    "repvit_m2_3": (
        {"conv": 217, "add": 56, "gelu": 55, "reduce_mean": 28, "mul": 25, "relu": 24, "sigmoid": 24, "cast": 1} | LAYER_NORMS,
        52.4,
        1770,
        "gelu -> fp16 (1, 160, 256, 256)",
    ),
    "tiny_vit": (
        {"transpose": 86, "reshape": 80, "linear": 40, "conv": 29, "add": 24, "gelu": 23, "layer_norm": 20, "matmul": 20}
        | {"slice_by_index": 20, "mul": 11, "pad": 10, "split": 10, "softmax": 10, "reduce_mean": 4, "cast": 1}
        | LAYER_NORMS,
        75.5,
        1677,
        "gelu -> fp16 (1, 256, 256, 256)",  # after a convolution, not in attention
    ),
}


@pytest.mark.slow  # 15 s to 80 s each
@pytest.mark.parametrize("name", KNOWN)
def test_known_models_have_their_known_counts_and_bytes(name, tmp_path):
    pytest.importorskip("coremltools", reason="makes the package")
    from encoders.export.device_lint.convert import lint_model, lint_package
    from encoders.export.formats.coreml_convert import convert, need_coremltools, save

    ct = need_coremltools()
    torch.manual_seed(0)
    sam = fresh_sam(name, image_size=1024)
    randomize_batchnorm(sam)  # other tensors stay zero, and additions of zeros are folded away
    image = ct.ImageType(name="image", shape=(1, 3, 1024, 1024))
    module, example = Normalised(fuse(sam).image_encoder).eval(), (torch.zeros(1, 3, 1024, 1024),)
    save(
        convert(module, example, inputs=[image], outputs=[ct.TensorType(name="y")], half=True, target="iOS17"),
        tmp_path / "Known.mlpackage",
    )
    report = lint_package(tmp_path / "Known.mlpackage")
    operations, peak, written, peak_at = KNOWN[name]
    assert report.operations == operations
    assert (round(report.peak_bytes / 1e6, 1), round(report.written_bytes / 1e6), report.peak_at) == (peak, written, peak_at)

    exported = lint_model(untrained_subject(name, image_size=1024), name=name)
    padding = {"abs": 1, "reduce_sum": 1, "clip": 1, "mul": 1, "add": 1}
    biases = {"add": 12 if name == "tiny_vit" else 2}  # no longer zero: two in the neck, ten in attention
    half_norms = {"abs": 2, "clip": 2, "inverse": 2, "mul": 6, "real_div": 2, "reduce_max": 2}  # in place of two squares
    expected = Counter(operations) + Counter(padding) + Counter(biases) + Counter(half_norms) - Counter({"pow": 2})
    assert Counter(exported.operations) == expected
    assert exported.peak_bytes == report.peak_bytes
