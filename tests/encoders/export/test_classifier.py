"""RepViT's ImageNet networks as Core ML packages, from files with the original's names."""

import argparse
import copy
import errno
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from encoders.errors import InputError
from encoders.export import classifier
from encoders.export.certification.fusion_check import randomize_batchnorm
from encoders.export.certification.tensors import weights_checksum
from encoders.export.classifier import build_fused, export_classifier, load_classifier
from encoders.export.classifier_report import compare_logits, crop, normalized
from encoders.files import sha256_file
from encoders.image_encoders.repvit import REPVIT_SIZES, build_classifier
from encoders.weights.keymaps.repvit import repvit_prefixes
from encoders.weights.keymaps.table import rename

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
    torch.testing.assert_close(load_classifier("repvit_m0_9", tmp_path / "timm.bin")(frame), timms(frame), rtol=1e-4, atol=1e-5)
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


@pytest.mark.slow  # 8 s: a network is converted
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
    assert found.weights == "repvit_m0_6.pth" and found.weights_sha256 == sha256_file(path)
    with pytest.raises(InputError, match="already exists"):
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
    with pytest.raises(InputError, match="repvit_m0_6_64.mlpackage .* differ from PyTorch's by"):
        export_classifier("repvit_m0_6", path, tmp_path / "out", photos=[export_photos[0].image], resolution=64)
    assert not (tmp_path / "out").exists()


PACKAGE, REPORT = "repvit_m0_6_64.mlpackage", "repvit_m0_6_64.json"


@pytest.fixture(scope="module")
def loaded(small):
    _, path = small
    return load_classifier("repvit_m0_6", path)


@pytest.fixture
def export(small, loaded, export_photos, tmp_path, monkeypatch):
    """Export M0.6 to `tmp_path/a/out` without Core ML: the package holds one file with a given text."""
    _, path = small

    def run(text="new", *, overwrite=False, error=None):
        def write(network, package, **_):
            package.mkdir()
            (package / "model").write_text(text)
            if error is not None:
                raise error

        facts = {"logits_error": 0.0, "same_class": 1.0, "runtime": text, "how": "interpreted"}
        monkeypatch.setattr(classifier, "load_classifier", lambda *_: copy.deepcopy(loaded))
        monkeypatch.setattr(classifier, "write_classifier", write)
        monkeypatch.setattr(classifier, "compare_logits", lambda *_, **__: facts)
        out, photos = tmp_path / "a" / "out", [export_photos[0].image]
        export_classifier("repvit_m0_6", path, out, photos=photos, resolution=64, overwrite=overwrite)

    return run


def versions(out):
    """The texts of package and report, which must be the only content of the folder."""
    assert sorted(path.name for path in out.iterdir()) == [REPORT, PACKAGE]
    return (out / PACKAGE / "model").read_text(), json.loads((out / REPORT).read_text())["runtime"]


def test_package_and_report_are_replaced_together_and_only_on_request(export, tmp_path):
    out = tmp_path / "a" / "out"
    export("old")
    with pytest.raises(InputError, match=f"{PACKAGE} already exists.*--overwrite"):
        export()
    assert versions(out) == ("old", "old")
    export(overwrite=True)
    assert versions(out) == ("new", "new")


def test_a_lone_report_is_not_replaced_without_being_asked(export, tmp_path):
    out = tmp_path / "a" / "out"
    out.mkdir(parents=True)
    (out / REPORT).write_text("mine")
    with pytest.raises(InputError, match=f"{REPORT} already exists.*--overwrite"):
        export()
    assert (out / REPORT).read_text() == "mine"
    export(overwrite=True)
    assert versions(out) == ("new", "new")
    shutil.rmtree(out / PACKAGE)
    (out / REPORT).unlink()
    (out / REPORT).mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export(overwrite=True)
    assert (out / REPORT).is_dir()


@pytest.mark.parametrize("error", [RuntimeError("the converter failed"), KeyboardInterrupt()])
def test_a_failed_conversion_leaves_no_folder_that_was_made_for_it(export, tmp_path, error):
    with pytest.raises(type(error)):
        export(error=error)
    assert not any(tmp_path.iterdir())


def test_a_failed_conversion_leaves_the_old_package_and_report(export, tmp_path):
    export("old")
    with pytest.raises(RuntimeError):
        export(overwrite=True, error=RuntimeError("the converter failed"))
    assert versions(tmp_path / "a" / "out") == ("old", "old")


@pytest.mark.parametrize("failing", [2, 4])  # of the renames: package aside, package in, report aside, report in
def test_both_are_put_back_when_one_cannot_be_renamed(export, tmp_path, monkeypatch, failing):
    export("old")
    rename, calls = Path.rename, []

    def fail_once(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(InputError, match="cannot be written .Permission denied"):
        export(overwrite=True)
    assert versions(tmp_path / "a" / "out") == ("old", "old")


def test_a_report_that_cannot_be_written_leaves_nothing(export, tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(classifier, "atomic_path", full)
    with pytest.raises(InputError, match="No space left on device"):
        export()
    assert not any(tmp_path.iterdir())


def test_a_full_disk_that_the_converter_reports_in_its_own_way_is_an_input_error(export, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(InputError, match="cannot be written .weights.bin failed, 0 MiB free"):
        export(error=RuntimeError("weights.bin failed"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("damaged", ["package", "network"])
def test_logits_that_are_not_finite_are_refused_on_any_photo(small, export_photos, monkeypatch, damaged):
    network, _ = small
    crops = [crop(sample.image, resolution=64) for sample in export_photos]
    number, logits = [], torch.full((1, 7), torch.nan)

    def predict(inputs):
        number.append(len(number))
        with torch.inference_mode():
            exact = network(normalized(inputs["image"][0].transpose(1, 2, 0)))
        return {"logits": (logits if damaged == "package" and len(number) == 2 else exact).numpy()}

    class Damaged:
        def __call__(self, image):
            return network(image) if len(number) != 1 else logits

    monkeypatch.setattr("encoders.export.formats.coreml_runtime.open_package", lambda path: predict)
    monkeypatch.setattr("encoders.export.formats.coreml_runtime.runtime_here", lambda: ("a test", "interpreted"))
    package = Path("repvit_m0_6_64.mlpackage")
    assert compare_logits(network, package, crops[:1], precision="fp32")["logits_error"] == 0
    number.clear()
    with pytest.raises(InputError, match="repvit_m0_6_64.* are not finite on photo 2"):
        compare_logits(network if damaged == "package" else Damaged(), package, crops, precision="fp32")


def test_checksums_take_every_dtype_and_stay_what_they_were():
    module = torch.nn.BatchNorm2d(3)  # float32 and, without dimensions, int64
    expected = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        expected.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode() + tensor.numpy().tobytes())
    assert weights_checksum(module) == expected.hexdigest()
    sums = {weights_checksum(module.to(dtype)) for dtype in (torch.bfloat16, torch.float16, torch.float32)}
    assert len(sums) == 3
    module.to(torch.bfloat16)
    before = weights_checksum(module)
    with torch.no_grad():
        module.bias[1] = 0.5
    assert weights_checksum(module) != before


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
