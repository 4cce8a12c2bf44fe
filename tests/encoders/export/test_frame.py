"""Exports without padding: a rectangle for photos of one aspect."""

import numpy as np
import pytest
import torch

import encoders
from encoders.errors import InputError, MissingExtra
from encoders.export import ExportRequest, export_model, read_certificate, verify_export
from encoders.export.certifying import contract_image
from encoders.export.modules.frame import FramedEncoder, crop, fits, frame_of, parse_aspect
from encoders.export.opened import open_export
from encoders.export.untrained import untrained_subject
from tests.encoders.export.conftest import PlainFormat, PlainRuntime, photo

SIZE = 256


@pytest.fixture(scope="module")
def student():
    return untrained_subject("repvit_m0_6", image_size=SIZE)


@pytest.fixture(scope="module")
def photos():
    return [photo("wide", (96, 144), seed=1), photo("wider", (60, 144), seed=2), photo("tall", (144, 96), seed=3)]


@pytest.mark.parametrize(("text", "shape"), [("3:2", (2, 3)), ("2:3", (3, 2)), ("16:9", (9, 16)), ("1:1", (1, 1))])
def test_an_aspect_is_width_to_height(text, shape):
    assert parse_aspect(text) == shape


@pytest.mark.parametrize("text", ["", "3", "3:0", "0:2", "3x2", "3:2:1", "-3:2", "1.5:1", "99999:1", "3:2\n"])
def test_what_is_no_aspect_is_refused(text):
    with pytest.raises(InputError, match="is not an aspect ratio; expected width:height, e.g. 3:2"):
        parse_aspect(text)


def test_a_frame_is_the_photo_and_one_position_of_padding():
    assert frame_of((2, 3), image_size=SIZE) == (192, 256)  # 171 px: 11 positions, and one
    assert frame_of((3, 2), image_size=SIZE) == (256, 192)
    assert frame_of((9, 16), image_size=1024) == (592, 1024)  # 576 px: 36 positions, and one
    assert frame_of((1, 1), image_size=SIZE) == (256, 256)


def test_photos_that_are_flatter_than_the_frame_fit_and_others_do_not():
    frame = frame_of((2, 3), image_size=SIZE)
    for shape, expected in (((480, 720), True), ((300, 720), True), ((540, 720), False), ((720, 480), False)):
        assert fits(shape, frame=frame, image_size=SIZE) is expected
    assert fits((720, 480), frame=(SIZE, SIZE), image_size=SIZE)


def test_a_photo_that_reaches_beyond_the_frame_is_refused():
    image = torch.zeros(1, 3, SIZE, SIZE)
    image[:, :, :176] = 1
    assert crop(image, frame=(192, 256)).shape == (1, 3, 192, 256)
    image[0, 1, 176, 250] = 1  # inside the frame, but where it must be padding
    with pytest.raises(InputError, match="up to 256 x 176 pixels.*does not fit. Export with another --aspect"):
        crop(image, frame=(192, 256))


def test_of_a_padded_square_only_the_frame_is_seen(student):
    encoder = FramedEncoder(encoders.fuse(student).image_encoder, frame=(192, 256), image_size=SIZE).eval()
    image = torch.zeros(1, 3, SIZE, SIZE)
    image[:, :, :171] = torch.randn(1, 3, 171, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(encoder(image), encoder(image[:, :, :192]))
        photo = slice(0, 11)  # of the embedding's rows; beside them, the frame's far edge is not there to be seen
        found, padded = encoder(image)[:, :, photo], student.image_encoder(image)[:, :, photo]
        assert torch.linalg.vector_norm(found - padded) < 0.1 * torch.linalg.vector_norm(padded)


@torch.inference_mode()
def relative_error(sam, image, *, frame):
    """Of the embedding of the frame to the one of the padded square."""
    padded = contract_image(image, image_size=SIZE)
    expected = sam.image_encoder(padded).double()
    found = FramedEncoder(sam.image_encoder, frame=frame, image_size=SIZE)(padded).double()
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


class KeptFormat(PlainFormat):
    """Asks the very model that it was given, in PyTorch."""

    kept: encoders.Sam

    def write(self, sam, folder, *, precision):
        self.kept = sam
        (folder / "model.txt").write_text("in memory")

    def open(self, folder, *, image_size, precision, threads=None):
        return PlainRuntime(self.kept)


@pytest.fixture
def kept_format(monkeypatch):
    made = KeptFormat()
    for module in ("job", "opened"):
        monkeypatch.setattr(f"encoders.export.{module}.find_maker", lambda *, format, target: made)


def export_a_rectangle(student, photos, out, *, name):
    """Export for 3:2, certify, open and ask again."""
    request = ExportRequest(sam=student, out=out, format=name, samples=photos, weights="fresh", trained=False, aspect="3:2")
    made = export_model(request)
    assert made.frame == [192, 256] and "192 x 256" in made.padding and set(made.photos) == {"wide", "wider"}
    assert made.runtimes[0].measures.iou_photo_min >= 0.999 and made.runtimes[0].measures.embedding_relative_error < 1e-5
    expected = max(relative_error(student, sample.image, frame=(192, 256)) for sample in photos[:2])
    assert made.no_padding.embedding_relative_error == pytest.approx(expected, rel=1e-3) and expected > 0.01
    assert read_certificate(out) == made
    assert verify_export(out, photos).runtime.measures.iou_photo_min >= 0.999

    predictor = encoders.Predictor(open_export(out))
    unpadded = encoders.Predictor(encoders.fuse(student), padding=False)
    for asked in (predictor, unpadded):
        asked.set_image(photos[0].image)
    assert torch.allclose(predictor.embedding, unpadded.embedding, atol=1e-4)  # its own rectangle is just this frame
    with pytest.raises(InputError, match="does not fit"):
        predictor.set_image(photos[2].image)


def test_a_rectangle_is_exported_certified_and_opened(kept_format, student, photos, tmp_path):
    export_a_rectangle(student, photos, tmp_path / "out", name="plain")


@pytest.mark.slow  # 22 s
def test_onnx_takes_the_rectangle(student, photos, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnx

    export_a_rectangle(student, photos, tmp_path / "out", name="onnx")
    (given,) = onnx.load(tmp_path / "out" / "encoder.onnx").graph.input
    assert [side.dim_value for side in given.type.tensor_type.shape.dim] == [1, 3, 192, 256]


@pytest.mark.slow  # half a minute a format
@pytest.mark.parametrize("name", ["openvino", "coreml", "coreai", "executorch", "litert"])
def test_every_format_writes_rectangles(student, photos, tmp_path, name):
    request = ExportRequest(
        sam=student, out=tmp_path / name, format=name, samples=photos[:1], weights="fresh", trained=False, aspect="3:2"
    )
    try:
        made = export_model(request)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert made.frame == [192, 256] and made.runtimes[0].measures.logits_relative_error < 0.01
    assert np.isfinite(open_export(tmp_path / name).runtime.encode(np.zeros((1, 3, 192, 256), np.float32))).all()


def test_what_cannot_do_without_padding_is_refused_and_leaves_nothing(student, photos, tmp_path):
    def ask(**changes):
        given = {"sam": student, "out": tmp_path / "out", "format": "onnx", "samples": photos, "weights": "w", "aspect": "3:2"}
        return export_model(ExportRequest(**(given | {"trained": False} | changes)))

    with pytest.raises(InputError, match="cannot run without padding.*Use a RepViT encoder"):
        ask(sam=untrained_subject("tiny_vit", image_size=SIZE))
    with pytest.raises(InputError, match="python pads photos in its own way; --aspect is for --format"):
        ask(format=None, target="python")
    with pytest.raises(InputError, match="none of 1 photos of the certificate fits into 3:2"):
        ask(samples=photos[2:])
    with pytest.raises(InputError, match="'wide' is not an aspect ratio"):
        ask(aspect="wide")
    assert not list(tmp_path.iterdir())
