"""What `--format onnx` writes: names, shapes, and the same numbers as PyTorch and as segment-anything's own model."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import encoders
from encoders.errors import InputError, MissingExtra
from encoders.export import ExportRequest, export_model
from encoders.export.certifying import contract_image
from encoders.export.formats.onnx import OnnxFormat, open_session, write_encoder
from encoders.export.untrained import untrained_subject
from encoders.samples.sample import Sample
from tests.encoders.export.sam_onnx_reference import CASES, decoder_inputs, expected_outputs

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(live_sam, tmp_path_factory):
    """An export of the fused model, about 10 s."""
    made = tmp_path_factory.mktemp("onnx")
    OnnxFormat().write(encoders.fuse(live_sam), made, precision="fp32")
    return made


@pytest.fixture(scope="module")
def runtime(folder, live_sam):
    return OnnxFormat().open(folder, image_size=live_sam.image_size, precision="fp32", threads=1)


def test_the_encoder_takes_the_embedding_contracts_image(folder):
    session = open_session(folder / "encoder.onnx", threads=1)
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("image", [1, 3, 64, 64], "tensor(float)")
    assert (found.name, found.shape, found.type) == ("image_embeddings", [1, 256, 4, 4], "tensor(float)")


def test_the_decoder_has_segment_anythings_names_and_any_number_of_prompts_and_points(folder):
    session = open_session(folder / "decoder.onnx", threads=1)
    assert {port.name: port.shape for port in session.get_inputs()} == {
        "image_embeddings": [1, 256, 4, 4],
        "point_coords": ["prompts", "points", 2],
        "point_labels": ["prompts", "points"],
        "mask_input": [1, 1, 16, 16],
        "has_mask_input": [1],
        "orig_im_size": [2],
    }
    assert {port.type for port in session.get_inputs()} == {"tensor(float)"}
    assert [port.name for port in session.get_outputs()] == ["masks", "iou_predictions", "low_res_masks"]


def test_each_file_stands_alone_in_opset_18(folder):
    import onnx

    assert sorted(path.name for path in folder.iterdir()) == ["decoder.onnx", "encoder.onnx"]
    for path in folder.iterdir():
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model)
        assert [(one.domain, one.version) for one in model.opset_import if one.domain == ""] == [("", 18)]


@torch.inference_mode()
def test_embeddings_are_those_of_the_unfused_model(runtime, live_sam, export_photos):
    for sample in export_photos:
        image = contract_image(sample.image, image_size=live_sam.image_size)
        np.testing.assert_allclose(runtime.encode(image.numpy()), live_sam.image_encoder(image).numpy(), atol=1e-4)


@pytest.mark.parametrize(("prompts", "points", "has_mask", "shape"), CASES)
def test_the_decoder_answers_as_segment_anythings_own_model(folder, live_sam, prompts, points, has_mask, shape):
    given = decoder_inputs(prompts=prompts, points=points, has_mask=has_mask, shape=shape, image_size=live_sam.image_size)
    found = open_session(folder / "decoder.onnx", threads=1).run(None, given)
    assert found[0].shape == (prompts, 4, *shape)
    for one, expected in zip(found, expected_outputs(live_sam, given), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_a_photo_so_narrow_that_no_column_is_left_of_it_keeps_one(folder, live_sam):
    given = decoder_inputs(prompts=2, points=2, has_mask=0, shape=(300, 1), image_size=live_sam.image_size)
    masks, _, logits = open_session(folder / "decoder.onnx", threads=1).run(None, given)
    expected = live_sam.to_masks(torch.from_numpy(logits), shape=(300, 1)).numpy()
    np.testing.assert_array_equal(masks > 0, expected)
    assert 0 < expected.mean() < 1


@torch.inference_mode()
def test_masks_of_an_earlier_round_go_to_their_own_prompts(runtime, live_sam):
    given = decoder_inputs(prompts=3, points=2, has_mask=1, shape=(40, 60), image_size=live_sam.image_size)
    boxes = np.asarray([[5, 3, 40, 20], [10, 8, 60, 30], [1, 1, 20, 28]], np.float32)
    masks = np.random.default_rng(0).standard_normal((3, 1, 16, 16)).astype(np.float32) * 5
    embedding = given["image_embeddings"]
    labels = np.tile(np.asarray([2, 3]), (3, 1))
    logits, scores = runtime.decode(embedding, boxes.reshape(3, 2, 2), labels, masks)
    expected_logits, expected_scores = live_sam.decode_all(
        torch.from_numpy(embedding),
        image_index=torch.zeros(3, dtype=torch.int64),
        boxes=torch.from_numpy(boxes),
        masks=torch.from_numpy(masks),
    )
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(scores, expected_scores.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx"])
@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
def test_a_damaged_file_is_named(folder, tmp_path, name, damage):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / name
    if damage == "cut":
        broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    elif damage == "text":
        broken.write_text("no model")
    else:
        broken.unlink()
    with pytest.raises(InputError, match=name):
        OnnxFormat().open(tmp_path, image_size=64, precision="fp32")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_writing_without_a_package_says_which_extra_brings_it(monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} is not installed.*repvit-sam\[onnx\]"):
        write_encoder(torch.nn.Identity().eval(), tmp_path / "encoder.onnx", image=torch.zeros(1, 3, 8, 8))


def test_opening_without_onnx_runtime_says_which_extra_brings_it(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime is not installed.*repvit-sam\[onnx\]"):
        OnnxFormat().open(folder, image_size=64, precision="fp32")


def test_a_model_in_train_mode_is_refused(tmp_path):
    with pytest.raises(InputError, match="train mode"):
        write_encoder(torch.nn.BatchNorm2d(3), tmp_path / "encoder.onnx", image=torch.zeros(1, 3, 8, 8))
    assert not any(tmp_path.iterdir())


@pytest.mark.slow  # about 2 minutes on one core
def test_weights_of_the_original_repvit_sam_file_are_exported_as_pytorch_computes_them(key_list, tmp_path, request):
    state = encoders.official_state_dict(untrained_subject("repvit_m2_3", image_size=256))
    assert {key: tuple(value.shape) for key, value in state.items()} == key_list("repvit_sam")
    torch.save(state, tmp_path / "repvit_sam.pt")
    photos = sorted((request.config.rootpath / "distill" / "sample" / "val" / "images").glob("*.jpg"))[:2]
    assert len(photos) == 2
    samples = [Sample(key=path.stem, image=np.array(Image.open(path).convert("RGB"))) for path in photos]
    sam = encoders.load(tmp_path / "repvit_sam.pt", arch="repvit_m2_3", image_size=256)
    certificate = export_model(
        ExportRequest(sam=sam, out=tmp_path / "out", format="onnx", samples=samples, weights="repvit_sam.pt", threads=1)
    )
    (runtime,) = certificate.runtimes
    assert runtime.how == "executed" and runtime.measures is not None
    assert runtime.measures.embedding_max_difference < 1e-4
    assert runtime.measures.iou_photo_min > 0.999
