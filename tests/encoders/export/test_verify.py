"""An export checked again, on a machine that has no checkpoint."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import InputError, MissingExtra
from encoders.export import ExportRequest, export_model, open_export, verify_export
from encoders.export.folder import file_records
from encoders.predictor import Predictor
from encoders.prompts import Prompts
from encoders.samples.sample import Sample
from tests.encoders.export.conftest import PlainFormat


@pytest.fixture(scope="module")
def made(live_sam, export_photos, tmp_path_factory):
    """An export that no test changes."""
    out = tmp_path_factory.mktemp("made") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("encoders.export.job.find_maker", lambda *, format, target: PlainFormat())
        export_model(
            ExportRequest(sam=live_sam, out=out, format="plain", samples=export_photos, weights="live", trained=False)
        )
    return out


@pytest.fixture
def exported(made, plain_format, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "out"))


def test_an_untouched_export_is_what_its_certificate_says(exported, export_photos):
    found = verify_export(exported, export_photos)
    assert found.runtime.how == "executed" and found.missing is None
    assert found.runtime.measures.iou_mean > 0.999 and found.runtime.measures.embedding_relative_error < 1e-4


def test_a_flipped_bit_is_found_and_named(exported, export_photos):
    path = exported / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="model.safetensors was changed"):
        verify_export(exported, export_photos)


def test_missing_and_added_files_are_named(exported, export_photos):
    (exported / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="notes.txt is not of the export"):
        verify_export(exported, export_photos)
    (exported / "notes.txt").unlink()
    (exported / "model.safetensors").unlink()
    with pytest.raises(InputError, match="model.safetensors is missing"):
        verify_export(exported, export_photos)


def test_a_damaged_weight_fails_by_what_it_computes_even_where_the_checksums_were_made_to_fit(
    exported, export_photos, live_sam, plain_format
):
    import encoders

    plain_format.damage = "image_encoder.stem.conv2.weight"
    plain_format.write(encoders.fuse(live_sam), exported, precision="fp32")
    path = exported / "certificate.json"
    content = json.loads(path.read_text())
    content["files"] = {name: record.model_dump() for name, record in file_records(exported).items()}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="does not give what its certificate says: embedding_relative_error"):
        verify_export(exported, export_photos)


def test_other_photos_are_refused(exported, export_photos):
    with pytest.raises(InputError, match="photos that are not given: tall"):
        verify_export(exported, [sample for sample in export_photos if sample.key != "tall"])
    changed = [Sample(key=s.key, image=np.flipud(s.image).copy()) for s in export_photos]
    with pytest.raises(InputError, match="photo wide has other pixels"):
        verify_export(exported, changed)


def test_without_its_runtime_the_bytes_are_checked_and_the_rest_is_said_not_to_have_run(
    exported, export_photos, plain_format, monkeypatch
):
    def absent(*_args, **_kwargs):
        raise MissingExtra("coremltools", extra="coreml")

    monkeypatch.setattr(plain_format, "open", absent)
    found = verify_export(exported, export_photos)
    assert found.runtime.how == "not run here" and found.runtime.measures is None
    assert "repvit-sam[coreml]" in found.missing


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"version": 2}', "version"),
        ("[]", "the file"),
        ('{"format": "onnx", "extra": 1}', "precision: Field required"),
    ],
)
def test_a_damaged_certificate_is_refused(exported, content, said):
    (exported / "certificate.json").write_text(content)
    with pytest.raises(InputError, match=rf"certificate.json is damaged: .*{said}"):
        open_export(exported)


def test_nan_in_a_certificate_is_refused(exported):
    path = exported / "certificate.json"
    content = json.loads(path.read_text())
    content["runtimes"][0]["measures"]["iou_mean"] = float("nan")
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="runtimes.0.measures.iou_mean"):
        open_export(exported)


def test_a_folder_without_a_certificate_is_no_finished_export(tmp_path):
    with pytest.raises(InputError, match="is not a finished export"):
        open_export(tmp_path)


def test_an_opened_export_answers_as_the_model_does(exported, live_sam, export_photos):
    sample = export_photos[1]
    ours, exported_ = Predictor(live_sam), Predictor(open_export(exported))
    for predictor in (ours, exported_):
        predictor.set_image(sample.image)
    boxes = np.asarray([[5, 9, 44, 60], [20, 70, 49, 110.5]])
    points = np.asarray([[[10, 50], [30, 100]], [[40, 20], [12, 80]]])
    labels = np.asarray([[1, 0], [1, 1]])
    for given in ({"boxes": boxes}, {"points": points, "labels": labels}, {"boxes": boxes, "points": points, "labels": labels}):
        expected, found = ours.predict(Prompts(**given)), exported_.predict(Prompts(**given))
        assert found.logits.shape == expected.logits.shape == (2, 3, 16, 16)
        np.testing.assert_allclose(found.logits, expected.logits, atol=2e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    single = exported_.predict(Prompts(boxes=boxes), multimask=False)
    np.testing.assert_array_equal(single.logits, exported_.predict_tokens(Prompts(boxes=boxes)).logits[:, :1])


def test_several_images_keep_their_own_prompts(exported, live_sam, export_photos):
    images = [sample.image for sample in export_photos[:2]]
    prompts = [Prompts(boxes=np.asarray(boxes)) for boxes in ([[5, 9, 44, 50.0]], [[9, 3, 30, 66.0], [1, 2, 40, 90]])]
    answers = []
    for model in (live_sam, open_export(exported)):
        predictor = Predictor(model)
        predictor.set_images(images)
        answers.append(predictor.predict_images(prompts))
    for expected, found in zip(*answers, strict=True):
        assert found.masks.shape == expected.masks.shape
        np.testing.assert_allclose(found.logits, expected.logits, atol=2e-3)
