import asyncio
import importlib.util
import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

from encoders.errors import InputError, MissingExtra
from encoders.export import ExportRequest, export_model, open_export, verify_export
from encoders.export.formats import find_format
from encoders.export.formats.coreai import DECODER, ENCODER, CoreAiFormat, HalfEncoder
from encoders.export.formats.coreai_asset import PROGRAM, Asset, need, write_asset
from encoders.export.modules.prompt_decoder import PADDING, PromptDecoder
from encoders.export.untrained import untrained_subject
from encoders.fusion import fuse


@pytest.fixture(scope="module")
def core_ai():
    """Skips where Core AI's packages are not installed or do not work."""
    try:
        return need("coreai_torch"), need("coreai.runtime")
    except MissingExtra as error:
        pytest.skip(str(error))


def test_the_format_is_found_by_name():
    assert isinstance(find_format("coreai"), CoreAiFormat)


@pytest.mark.parametrize("module", ["formats.coreai", "formats.coreai_asset", "targets.apple_segmenter"])
def test_naming_the_format_imports_none_of_its_packages(monkeypatch, module):
    for package in ("coreai", "coreai_torch"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    found = importlib.util.find_spec(f"encoders.export.{module}")
    found.loader.exec_module(importlib.util.module_from_spec(found))  # the module anew, beside the one that is in use


@pytest.mark.parametrize("error", [ImportError("no such module"), OSError("undefined symbol"), AttributeError("x")])
def test_a_missing_or_broken_package_is_a_missing_extra(monkeypatch, error, tmp_path):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingExtra, match=r"coreai-torch is not installed.*repvit-sam\[coreai\]"):
        CoreAiFormat().write(untrained_subject("repvit_m0_6", image_size=64), tmp_path, precision="fp32")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_fp16_is_inside_the_encoder_alone():
    encoder, image = untrained_subject("repvit_m0_6", image_size=64).image_encoder, torch.randn(1, 3, 64, 64)
    half = HalfEncoder(encoder)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    assert next(encoder.parameters()).dtype == torch.float32
    found, expected = half(image), encoder(image)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() / expected.norm() < 1e-2


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([2.0, 3.0]))
        self.eval()

    def forward(self, points):
        return points * self.factor


class Rare(nn.Module):
    def forward(self, values):
        return torch.special.bessel_j0(values)


def write_scale(path, module=None, **changes):
    given = {"example": (torch.zeros(1, 3, 2),), "inputs": ("points",), "outputs": ("scaled",), "description": "doubles x"}
    write_asset(module or Scale(), path, **(given | changes))


def test_an_asset_gives_what_the_module_gives_and_says_what_it_takes(core_ai, tmp_path, capsys):
    write_scale(tmp_path / "scale.aimodel")
    assert capsys.readouterr().out == ""  # the command line prints JSON there
    points = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    found = Asset(tmp_path / "scale.aimodel")(points=points[:, ::-1])  # not contiguous
    assert found["scaled"].tolist() == (points[:, ::-1] * [2, 3]).tolist()
    assets = need("coreai.authoring").AIModelAsset
    assert assets.load(tmp_path / "scale.aimodel").metadata.model_description == "doubles x"


def test_an_asset_is_called_where_an_event_loop_runs(core_ai, tmp_path):
    write_scale(tmp_path / "scale.aimodel")

    async def notebook():
        asset = Asset(tmp_path / "scale.aimodel")
        found = asset(points=np.ones((1, 3, 2), np.float32))["scaled"]
        asset.close()
        return found

    assert asyncio.run(notebook())[0, 0].tolist() == [2.0, 3.0]


def test_the_wrong_shape_is_refused_with_what_was_given(core_ai, tmp_path):
    write_scale(tmp_path / "scale.aimodel")
    with pytest.raises(InputError, match=r"points \(1, 5, 2\) float32"):
        Asset(tmp_path / "scale.aimodel")(points=np.ones((1, 5, 2), np.float32))


def test_a_missing_and_a_damaged_asset_are_refused(core_ai, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Asset(tmp_path / "scale.aimodel")
    write_scale(tmp_path / "scale.aimodel")
    program = bytearray((tmp_path / "scale.aimodel" / PROGRAM).read_bytes())
    program[len(program) // 2] ^= 1
    (tmp_path / "scale.aimodel" / PROGRAM).write_bytes(program)
    with pytest.raises(InputError, match="main.mlirb is damaged"):
        Asset(tmp_path / "scale.aimodel")


def test_a_module_in_train_mode_is_refused(core_ai, tmp_path):
    with pytest.raises(InputError, match="train mode"):
        write_scale(tmp_path / "scale.aimodel", Scale().train())


@pytest.mark.slow  # 15 s on a busy core
def test_a_full_disk_is_told_before_anything_is_written(core_ai, live_sam, export_photos, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=2**22)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    request = ExportRequest(
        sam=live_sam, out=tmp_path / "export", format="coreai", samples=export_photos, weights="untrained", trained=False
    )
    with pytest.raises(InputError, match="No space left on device"):
        export_model(request)
    assert not list(tmp_path.iterdir())


def test_an_operation_that_the_converter_does_not_know_is_named(core_ai, tmp_path):
    with pytest.raises(InputError, match="bessel_j0"):
        write_scale(tmp_path / "rare.aimodel", Rare().eval())
    assert not (tmp_path / "rare.aimodel").exists()


@pytest.mark.slow  # 50 s on a busy core
@torch.no_grad()
def test_the_decoder_takes_any_number_of_prompts_and_points(core_ai, live_sam, tmp_path):
    sam = fuse(live_sam)
    CoreAiFormat().write(sam, tmp_path, precision="fp32")
    runtime = CoreAiFormat().open(tmp_path, image_size=64, precision="fp32")
    decoder, embedding = PromptDecoder(sam), torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(0))
    generator = np.random.default_rng(0)
    for prompts, points in ((1, 2), (3, 5), (2, 1)):
        coords = (generator.random((prompts, points, 2)) * [64, 40]).astype(np.float32)
        labels = generator.integers(PADDING, 4, (prompts, points))
        logits, scores = runtime.decode(embedding.numpy(), coords, labels)
        expected, expected_scores = decoder(embedding, torch.from_numpy(coords), torch.from_numpy(labels))
        assert np.abs(logits - expected.numpy()).max() < 1e-3
        assert np.abs(scores - expected_scores.numpy()).max() < 1e-4
    with pytest.raises(InputError, match="takes no masks"):
        runtime.decode(embedding.numpy(), coords, labels, np.zeros((2, 1, 16, 16), np.float32))


@pytest.mark.slow  # 80 s on a busy core
def test_an_exported_model_is_certified_by_execution_and_verified_again(core_ai, live_sam, export_photos, tmp_path):
    request = ExportRequest(
        sam=live_sam, out=tmp_path / "export", format="coreai", samples=export_photos, weights="untrained", trained=False
    )
    certificate = export_model(request)
    runtime = certificate.runtimes[0]
    assert (runtime.how, runtime.precision) == ("executed", "fp32")
    assert runtime.measures.embedding_relative_error < 1e-4
    assert {file.split("/")[0] for file in certificate.files} == {ENCODER, DECODER, "reference.json"}
    assert open_export(tmp_path / "export").image_size == 64
    assert verify_export(tmp_path / "export", export_photos).runtime.how == "executed"
