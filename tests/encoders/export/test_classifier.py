"""RepViT's ImageNet networks as Core ML packages, from files with the original's names."""

import argparse
import json

import numpy as np
import pytest
import timm
import torch

from encoders.errors import InputError
from encoders.export import classifier
from encoders.export.classifier import build_fused, crop, export_classifier, load_classifier, normalized
from encoders.export.fusion_check import randomize_batchnorm
from encoders.keymaps.repvit import repvit_prefixes
from encoders.keymaps.table import rename
from encoders.repvit import REPVIT_SIZES, build_classifier

KEYS = dict(zip(REPVIT_SIZES, (476, 713, 713, 659, 1145, 1469), strict=True))  # with two heads, of the original's own models
FAST = ("repvit_m0_6", "repvit_m0_9")
THEIR_HEADS = {"head.head": "classifier.classifier", "head.head_dist": "classifier.classifier_dist"}


def live(network, *, seed=0):
    """Random values in every BatchNorm and head, so that each weight has a say."""
    randomize_batchnorm(network, seed=seed)
    return network.eval()


def save_original(network, name, path):
    """As the original's training script saves it."""
    prefixes = dict(repvit_prefixes(name)) | THEIR_HEADS
    state = {rename(key, prefixes): value for key, value in network.state_dict().items()}
    torch.save({"model": state, "epoch": 299, "args": argparse.Namespace(model=name)}, path)
    return state


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """M0.6 with two heads of 7 classes: the network and its file."""
    path = tmp_path_factory.mktemp("weights") / "repvit_m0_6.pth"
    network = live(build_classifier("repvit_m0_6", num_classes=7, distillation=True))
    save_original(network, "repvit_m0_6", path)
    return network, path


@pytest.fixture(scope="module")
def frame(export_photos):
    return normalized(crop(export_photos[0].image, resolution=64))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in REPVIT_SIZES],  # 2 to 8 s each
)
@torch.inference_mode()
def test_all_six_load_from_the_originals_names_and_fuse_to_the_same_logits(name, frame, tmp_path):
    network = live(build_classifier(name, distillation=True))
    state = save_original(network, name, tmp_path / "original.pth")
    assert len(state) == KEYS[name]
    assert "classifier.classifier_dist.l.weight" in state and "features.0.0.c.weight" in state
    loaded = load_classifier(name, tmp_path / "original.pth")
    assert torch.equal(loaded(frame), network(frame))
    fused, difference = build_fused(loaded, weights=name, frames=[frame])
    assert 0 < difference < 1e-4 and isinstance(fused.head, torch.nn.Linear)
    assert sum(p.numel() for p in fused.parameters()) < sum(p.numel() for p in loaded.parameters())


@torch.inference_mode()
def test_the_two_heads_are_averaged(small, frame):
    network, path = small
    features = network.forward_features(frame).mean((2, 3))
    expected = (network.head.head(features) + network.head.head_dist(features)) / 2
    fused, _ = build_fused(load_classifier("repvit_m0_6", path), weights="x", frames=[frame])
    torch.testing.assert_close(fused(frame), expected, atol=1e-4, rtol=1e-4)
    assert (network.head.head(features) - expected).abs().max() > 0.01


@torch.inference_mode()
def test_timms_file_legacy_forms_and_one_head_are_read_too(frame, tmp_path):
    timms = live(timm.create_model("repvit_m0_9", pretrained=False))
    torch.save(timms.state_dict(), tmp_path / "timm.bin")
    assert torch.equal(load_classifier("repvit_m0_9", tmp_path / "timm.bin")(frame), timms(frame))
    legacy = live(timm.create_model("repvit_m1", pretrained=False, distillation=False))
    save_original(legacy, "repvit_m0_9", tmp_path / "legacy.pth")
    loaded = load_classifier("repvit_m0_9", tmp_path / "legacy.pth")
    torch.testing.assert_close(loaded(frame), legacy(frame), atol=1e-4, rtol=1e-4)
    assert not loaded.head.distillation


def test_the_crop_is_the_middle_of_the_photo():
    photo = np.zeros((100, 300, 3), np.uint8)
    photo[:, 140:160] = (200, 100, 50)
    middle = crop(photo, resolution=224)
    assert middle.shape == (224, 224, 3) and tuple(middle[112, 112]) == (200, 100, 50)
    assert not middle[:, 40].any() and not middle[:, -40].any()
    assert crop(np.zeros((301, 97, 3), np.uint8), resolution=64).shape == (64, 64, 3)


def test_a_package_is_written_with_a_report_of_what_it_computes(small, export_photos, tmp_path):
    pytest.importorskip("coremltools")
    from encoders.export.mil import read_package

    _, path = small
    photos = [sample.image for sample in export_photos]
    found = export_classifier("repvit_m0_6", path, tmp_path / "out", photos=photos, resolution=64)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"repvit_m0_6_64.mlpackage", "repvit_m0_6_64.json"}
    assert json.loads((tmp_path / "out" / "repvit_m0_6_64.json").read_text()) == found.model_dump(mode="json")
    assert (found.classes, found.heads, found.photos, found.precision) == (7, 2, 3, "fp16")
    assert found.how in ("interpreted", "executed") and 0 < found.logits_error < 5e-3 and found.fusion_difference < 1e-4
    program = read_package(tmp_path / "out" / "repvit_m0_6_64.mlpackage")
    assert (program.inputs[0].kind, program.inputs[0].colours, program.outputs) == ("image", "RGB", ("logits",))
    assert program.metadata["arch"] == "repvit_m0_6" and program.metadata["resolution"] == "64"
    with pytest.raises(InputError, match="is there already"):
        export_classifier("repvit_m0_6", path, tmp_path / "out", photos=photos, resolution=64)


@pytest.mark.slow  # 5 s: a network is converted
def test_a_package_that_computes_something_else_is_not_left(small, export_photos, tmp_path, monkeypatch):
    pytest.importorskip("coremltools")
    _, path = small

    def damaged(network, package, **how):
        with torch.no_grad():
            network.head.bias += 0.1
        return write(network, package, **how)

    write = classifier.write_classifier
    monkeypatch.setattr(classifier, "write_classifier", damaged)
    with pytest.raises(InputError, match="differ by"):
        export_classifier("repvit_m0_6", path, tmp_path / "out", photos=[export_photos[0].image], resolution=64)
    assert not any((tmp_path / "out").iterdir())


def test_bad_input_is_told(small, export_photos, tmp_path):
    _, path = small
    photos = [export_photos[0].image]
    with pytest.raises(InputError, match="did you mean repvit_m0_6"):
        load_classifier("repvit_m06", path)
    with pytest.raises(InputError, match="does not fit repvit_m0_9 of ImageNet"):
        load_classifier("repvit_m0_9", path)
    for change, words in (
        ({"resolution": 100}, "multiple of 32"),
        ({"precision": "int3"}, "int3"),
        ({"photos": []}, "no photo"),
    ):
        with pytest.raises(InputError, match=words):
            export_classifier("repvit_m0_6", path, tmp_path / "out", **({"photos": photos} | change))
    save_original(build_classifier("repvit_m0_6", distillation=True).eval(), "repvit_m0_6", tmp_path / "fresh.pth")
    with pytest.raises(InputError, match="looks untrained"):
        export_classifier("repvit_m0_6", tmp_path / "fresh.pth", tmp_path / "out", photos=photos, resolution=64)
    assert not (tmp_path / "out").exists()
