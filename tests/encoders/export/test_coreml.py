"""What `--format coreml` writes: packages that say how to use them, and the same numbers as PyTorch when interpreted."""

import logging
import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

import encoders
from encoders.errors import InputError, MissingExtra
from encoders.export import ExportRequest, export_model
from encoders.export.certification.tensors import weights_checksum
from encoders.export.certifying import contract_image
from encoders.export.formats import coreml_runtime
from encoders.export.formats.coreml import CoreMlFormat, convert_decoder
from encoders.export.formats.coreml_convert import convert, need_coremltools, save
from encoders.export.formats.coreml_options import CoreMlOptions, parse_counts
from encoders.export.formats.coreml_weights import compress
from encoders.export.modules.pixel_encoder import PixelEncoder, to_pixels
from encoders.export.modules.prompt_decoder import PromptDecoder

pytest.importorskip("coremltools")
from encoders.export.certification.reference import read_reference  # noqa: E402
from encoders.export.graph import trace
from encoders.export.mil import Interpreter, read_package  # noqa: E402

EMBEDDING = torch.Generator().manual_seed(5)
COORDS = np.asarray([[[10, 20], [50, 30]], [[5, 40], [60, 63]], [[33.3, 7.7], [0, 0]]], np.float32)
LABELS = np.asarray([[2, 3], [2, 3], [1, -1]])


@pytest.fixture(scope="module")
def fused(live_sam):
    return encoders.fuse(live_sam)


@pytest.fixture(scope="module")
def folder(fused, tmp_path_factory):
    """fp16 with encoder and decoder, about 6 s."""
    made = tmp_path_factory.mktemp("coreml")
    CoreMlFormat().write(fused, made, precision="fp16")
    return made


@pytest.fixture(scope="module")
def runtime(folder):
    return CoreMlFormat().open(folder, image_size=64, precision="fp16")


@pytest.fixture(scope="module")
def frame(export_photos):
    return contract_image(export_photos[0].image, image_size=64)


@torch.inference_mode()
def expected_masks(sam, embedding, coords, labels):
    return tuple(v.numpy() for v in PromptDecoder(sam)(*(torch.from_numpy(v) for v in (embedding, coords, labels))))


def test_two_packages_are_written_and_nothing_else(folder):
    assert {path.name for path in folder.iterdir()} == {"ImageEncoder.mlpackage", "PromptDecoder.mlpackage"}
    for package in folder.iterdir():
        files = {path.name: path for path in package.rglob("*") if path.is_file()}
        assert set(files) == {"Manifest.json", "model.mlmodel", "weight.bin"}
        assert files["model.mlmodel"].stat().st_mode == files["Manifest.json"].stat().st_mode


def test_the_encoder_takes_an_rgb_image_and_normalises_it(folder):
    program = read_package(folder / "ImageEncoder.mlpackage")
    (image,) = program.inputs
    assert (image.name, image.kind, image.colours) == ("image", "image", "RGB")
    assert image.type.shape == (1, 3, 64, 64)
    assert program.outputs == ("image_embeddings",)


@torch.inference_mode()
def test_interpreted_it_embeds_as_pytorch_does(runtime, live_sam, frame):
    assert (runtime.how, runtime.precision) == ("executed" if sys.platform == "darwin" else "interpreted", "fp16")
    expected = live_sam.image_encoder(frame).numpy()
    found = runtime.encode(frame.numpy())
    assert found.dtype == np.float32 and found.shape == (1, 256, 4, 4)
    assert np.linalg.norm(found - expected) < 5e-3 * np.linalg.norm(expected)


@torch.inference_mode()
def test_the_stated_colour_pads_like_sams_zeros_and_black_does_not(folder, live_sam, frame):
    """60 x 110 becomes 35 x 64: 29 rows of padding."""
    metadata = read_package(folder / "ImageEncoder.mlpackage").metadata
    colour = [int(value) for value in metadata["padding_colour_rgb"].split(",")]
    assert colour == [124, 116, 104] and "(124, 116, 104)" in metadata["padding"]
    predict = coreml_runtime.open_package(folder / "ImageEncoder.mlpackage")
    expected = live_sam.image_encoder(frame).numpy()
    pixels = to_pixels(frame).numpy()
    errors = []
    for pad in (colour, [0, 0, 0]):
        pixels[:, :, 35:] = np.reshape(pad, (1, 3, 1, 1))
        found = predict({"image": pixels})["image_embeddings"]
        errors.append(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    assert errors[0] < 5e-3 and 3 * errors[0] < errors[1]


@torch.inference_mode()
def test_padding_pixels_become_exactly_zero_before_the_encoder(frame):
    given = PixelEncoder(nn.Identity())(to_pixels(frame).float())
    assert not given[:, :, 35:].any()
    torch.testing.assert_close(given, frame, atol=1e-5, rtol=1e-5)


def test_boxes_and_padded_points_get_pytorchs_masks(runtime, fused):
    """Three prompts are asked one by one, as the package takes one at a time."""
    embedding = torch.randn(1, 256, 4, 4, generator=EMBEDDING).numpy()
    logits, scores = runtime.decode(embedding, COORDS, LABELS)
    expected, expected_scores = expected_masks(fused, embedding, COORDS, LABELS)
    assert logits.shape == (3, 4, 16, 16) and scores.shape == (3, 4)
    assert np.abs(logits - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(scores - expected_scores).max() < 5e-3
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * np.abs(expected).max()  # prompts matter


def test_the_position_encoding_of_prompts_is_computed_in_float32(folder):
    program = read_package(folder / "PromptDecoder.mlpackage")
    kinds = {one.type: one.outputs[0].type.dtype for one in program.operations}
    assert kinds["sin"] == kinds["cos"] == "fp32"
    assert kinds["softmax"] == kinds["conv_transpose"] == "fp16"
    assert {one.name: one.type.dtype for one in program.inputs} == {
        "image_embeddings": "fp16", "point_coords": "fp32", "point_labels": "int32",
    }  # fmt: skip


def test_the_packages_say_how_to_use_them(folder, fused):
    encoder, decoder = (read_package(folder / f"{name}.mlpackage").metadata for name in ("ImageEncoder", "PromptDecoder"))
    for metadata in (encoder, decoder):
        assert metadata["arch"] == "repvit_m0_6" and metadata["image_size"] == "64" and metadata["precision"] == "fp16"
        assert "Apache-2.0" in metadata["licence"] and metadata["repvit_sam_version"]
    assert encoder["fused_tensors_sha256"] == weights_checksum(fused.image_encoder)
    assert decoder["fused_tensors_sha256"] == weights_checksum(fused.prompt_encoder, fused.mask_decoder)
    assert "(0, 0) labelled -1" in decoder["prompt_contract"]
    assert decoder["prompts"] == "1" and parse_counts(decoder["points"]).values == tuple(range(1, 17))


def test_another_weight_is_another_checksum(fused):
    before = weights_checksum(fused.mask_decoder)
    assert before == weights_checksum(fused.mask_decoder) and before != weights_checksum(fused.prompt_encoder)


def test_more_points_than_the_decoder_takes_are_refused_with_the_numbers(runtime):
    with pytest.raises(InputError, match="1,2,3.*17 were given"):
        runtime.decode(np.zeros((1, 256, 4, 4), np.float32), np.zeros((1, 17, 2), np.float32), np.ones((1, 17), np.int64))


def test_masks_of_an_earlier_round_are_refused(runtime):
    with pytest.raises(InputError, match="no masks"):
        masks = np.zeros((3, 1, 16, 16), np.float32)
        runtime.decode(np.zeros((1, 256, 4, 4), np.float32), COORDS, LABELS, masks)


@pytest.mark.slow  # 8 s each: a decoder is converted
@pytest.mark.parametrize(
    ("prompts", "points"), [("1", "2"), ("1,2", "2,3"), ("1-4", "1-8")], ids=["fixed", "enumerated", "ranged"]
)
def test_every_kind_of_numbers_of_prompts_gives_the_same_masks(prompts, points, fused, tmp_path):
    """Three prompts do not fit two evenly: the last is asked twice, and its second answer is dropped."""
    options = CoreMlOptions(prompts=parse_counts(prompts), points=parse_counts(points))
    package = tmp_path / "decoder.mlpackage"
    save(convert_decoder(fused, half=False, options=options), package)
    runtime = coreml_runtime.CoreMlRuntime(
        encoder=lambda given: given, decoder=Interpreter(read_package(package)).predict, prompts=options.prompts,
        points=options.points, name="x", how="interpreted", precision="fp32",
    )  # fmt: skip
    embedding = torch.randn(1, 256, 4, 4, generator=EMBEDDING).numpy()
    logits, _ = runtime.decode(embedding, COORDS, LABELS)
    expected, _ = expected_masks(fused, embedding, COORDS, LABELS)
    assert np.abs(logits - expected).max() < 1e-3 * np.abs(expected).max()


def test_enumerated_inputs_have_equally_long_lists():
    options = CoreMlOptions(prompts=parse_counts("1,4"), points=parse_counts("2,3,5"))
    assert options.shapes == [(1, 2), (1, 3), (1, 5), (4, 2), (4, 3), (4, 5)]


@pytest.mark.parametrize("text", ["0", "3,2", "2,2", "5-2", "1-2-3", "1-4,8", "many", "", "-1"])
def test_numbers_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="valid count; expected|numbers of prompts or points; expected"):
        parse_counts(text)


def test_what_core_ml_cannot_hold_is_refused():
    with pytest.raises(InputError, match="not one of each"):
        CoreMlOptions(prompts=parse_counts("1-4"), points=parse_counts("1,2"))
    with pytest.raises(InputError, match="160 shapes"):
        CoreMlOptions(prompts=parse_counts(",".join(str(n) for n in range(1, 11))))


@torch.inference_mode()
def test_weights_in_8_bits_are_smaller_and_close(fused, folder, frame, tmp_path):
    package = folder / "ImageEncoder.mlpackage"
    whole = need_coremltools().models.MLModel(str(package), skip_model_load=True)
    save(compress(whole, precision="int8"), tmp_path / "int8.mlpackage")
    found = coreml_runtime.open_package(tmp_path / "int8.mlpackage")({"image": to_pixels(frame).numpy()})["image_embeddings"]
    expected = fused.image_encoder(frame).numpy()
    assert 2e-3 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.1
    small, large = (next(path.rglob("weight.bin")).stat().st_size for path in (tmp_path / "int8.mlpackage", package))
    assert small < 0.6 * large


@pytest.mark.slow  # 20 s: encoder and decoder are converted
@pytest.mark.parametrize("points", ["3", "4-6"])
def test_a_decoder_without_two_points_is_certified_by_prompts_that_it_takes(live_sam, export_photos, tmp_path, points):
    request = ExportRequest(
        sam=live_sam, out=tmp_path / "out", format="coreml", samples=export_photos, weights="live", trained=False, points=points
    )
    made = export_model(request)
    assert made.runtimes[0].measures.logits_relative_error < 0.01
    first = int(points[0])
    asked = {(one.kind, one.points) for one in read_reference(tmp_path / "out").photos[0].answers}
    assert {("box", first), ("click", first)} <= asked and all(count >= first for _, count in asked)


def test_an_unknown_operation_is_named():
    class Bessel(nn.Module):
        def forward(self, image):
            return torch.special.i0e(image)

    ct = need_coremltools()
    inputs, outputs = [ct.TensorType(name="x", shape=(1, 4))], [ct.TensorType(name="y")]
    with pytest.raises(InputError, match="special_i0e"):
        convert(Bessel().eval(), (torch.zeros(1, 4),), inputs=inputs, outputs=outputs, half=True, target="iOS17")


def test_a_model_that_branches_on_values_is_refused():
    class Branch(nn.Module):
        def forward(self, image):
            return image if image.sum() > 0 else -image

    with pytest.raises(InputError, match="cannot be exported as a graph"):
        trace(Branch().eval(), (torch.zeros(1, 4),))


def test_train_mode_is_refused_with_the_part(live_sam, tmp_path):
    import copy

    training = copy.deepcopy(live_sam)
    training.image_encoder.neck.train()
    with pytest.raises(InputError, match="image_encoder.neck is training"):
        CoreMlFormat().write(training, tmp_path, precision="fp16")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ImageEncoder", "PromptDecoder"])
@pytest.mark.parametrize("damage", ["missing", "cut", "no manifest"])
def test_a_damaged_package_is_told_by_name(name, damage, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    package = copy / f"{name}.mlpackage"
    if damage == "missing":
        shutil.rmtree(package)
    elif damage == "cut":
        model = next(package.rglob("model.mlmodel"))
        model.write_bytes(model.read_bytes()[:1000])
    else:
        (package / "Manifest.json").unlink()
    with pytest.raises(InputError, match=name):
        CoreMlFormat().open(copy, image_size=64, precision="fp16")


def test_a_missing_or_old_coremltools_says_what_to_install(monkeypatch, live_sam, tmp_path):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "8.3.0")
    with pytest.raises(InputError, match=r"coremltools 8\.3\.0 is installed, version 9 or newer"):
        CoreMlFormat().write(live_sam, tmp_path, precision="fp16")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingExtra, match=r"repvit-sam\[coreml\]"):
        CoreMlFormat().write(live_sam, tmp_path, precision="fp16")


def test_converting_prints_nothing(capfd, caplog):
    class Double(nn.Module):
        def forward(self, image):
            return image * 2

    ct = need_coremltools()
    inputs, outputs = [ct.TensorType(name="x", shape=(1, 4))], [ct.TensorType(name="y")]
    convert(Double().eval(), (torch.zeros(1, 4),), inputs=inputs, outputs=outputs, half=True, target="iOS17")
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert logging.getLogger("coremltools").level == logging.NOTSET


def test_on_macos_core_ml_itself_is_asked(monkeypatch, folder, frame):
    """With a stand-in for Core ML: the image comes as a picture of the right size, arrays as arrays."""
    seen = {}

    class Model:
        def __init__(self, path):
            self.path = path

        def predict(self, given):
            seen[self.path.rsplit("/", 1)[-1]] = given
            if "image" in given:
                return {"image_embeddings": np.ones((1, 256, 4, 4), np.float16)}
            return {"low_res_masks": np.zeros((1, 4, 16, 16)), "iou_predictions": np.zeros((1, 4))}

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(need_coremltools().models, "MLModel", Model)
    runtime = CoreMlFormat().open(folder, image_size=64, precision="fp16")
    assert runtime.how == "executed" and runtime.name.startswith("Core ML on macOS")
    embedding = runtime.encode(frame.numpy())
    runtime.decode(embedding, COORDS, LABELS)
    image = seen["ImageEncoder.mlpackage"]["image"]
    assert image.size == (64, 64) and image.mode == "RGB" and image.getpixel((3, 63)) == (124, 116, 104)
    assert seen["PromptDecoder.mlpackage"]["point_labels"].dtype == np.int32
