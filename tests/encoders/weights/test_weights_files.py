"""Our own weights: written, read back, strict, atomic."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open

import encoders
from encoders.model_names import SHIPPED_WEIGHTS

NAME = "repvit_m0_6"


@pytest.fixture(scope="module")
def sam(randomise):
    return randomise(encoders.build_sam(NAME, image_size=128))


def equal(one, other):
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


def test_one_file_holds_the_whole_model(sam, tmp_path):
    encoders.save_sam(sam, tmp_path / "m.safetensors", metadata={"note": "hello"})
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        facts = file.metadata()
    expected = {"format": "repvit-sam-1", "arch": NAME, "image_size": "128", "fused": "false", "note": "hello"}
    assert len(facts.pop("content_sha256")) == 64
    assert facts == expected
    again = encoders.load(tmp_path / "m.safetensors")
    assert equal(sam, again)
    assert (again.arch, again.image_size, again.training) == (NAME, 128, False)


def test_half_precision_files_are_read_as_float32(sam, tmp_path):
    encoders.save_sam(sam, tmp_path / "full.safetensors")
    encoders.save_sam(sam, tmp_path / "half.safetensors", dtype=torch.float16)
    again = encoders.load(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (tmp_path / "full.safetensors").stat().st_size
    assert all(parameter.dtype == torch.float32 for parameter in again.parameters())
    found = again.state_dict()
    for key, value in sam.state_dict().items():
        assert torch.allclose(value.float(), found[key].float(), rtol=1e-3, atol=1e-4), key


def test_a_run_folder_has_the_encoder_and_the_decoder(sam, tmp_path):
    encoders.save_run_weights(sam, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder.safetensors", "encoder.safetensors"]
    with safe_open(tmp_path / "encoder.safetensors", framework="pt") as file:
        assert {key.split(".")[0] for key in file.keys()} == {"image_encoder"}  # noqa: SIM118
    with safe_open(tmp_path / "decoder.safetensors", framework="pt") as file:
        assert {key.split(".")[0] for key in file.keys()} == {"prompt_encoder", "mask_decoder"}  # noqa: SIM118
    assert equal(sam, encoders.load(tmp_path))
    assert equal(sam, encoders.build_sam(NAME, checkpoint=tmp_path, image_size=128))


def test_a_convolutional_model_is_read_at_another_image_size(sam, tmp_path):
    encoders.save_run_weights(sam, tmp_path)
    again = encoders.load(tmp_path, image_size=192)
    assert again.image_size == again.image_encoder.image_size == 192
    assert again.prompt_encoder.image_embedding_size == (12, 12)


def test_a_fused_model_is_read_fused(sam, tmp_path):
    fused = encoders.fuse(sam)
    encoders.save_sam(fused, tmp_path / "fused.safetensors")
    again = encoders.load(tmp_path / "fused.safetensors")
    assert again.fused and equal(fused, again)


def test_an_interrupted_write_leaves_the_old_file(sam, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    encoders.save_sam(sam, path)
    before = path.read_bytes()

    def fail(tensors, name, metadata):
        name.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("encoders.weights.safetensors_files.save_file", fail)
    with pytest.raises(encoders.InputError, match="disk full"):
        encoders.save_sam(sam, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_the_files_as_far_as_any_new_file_of_the_folder(sam, tmp_path):
    (tmp_path / "plain").touch()
    encoders.save_run_weights(sam, tmp_path)
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}
    assert len(list(tmp_path.iterdir())) == 3


def test_an_image_size_of_zero_is_not_taken_for_none(sam, tmp_path):
    encoders.save_sam(sam, tmp_path / "m.safetensors")
    with pytest.raises(encoders.InputError, match="64"):
        encoders.load(tmp_path / "m.safetensors", image_size=0)


def test_the_checksum_is_the_files(sam, tmp_path):
    path = tmp_path / "m.safetensors"
    encoders.save_sam(sam, path)
    assert encoders.weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_checksum_of_a_run_changes_with_either_file(sam, tmp_path):
    encoders.save_run_weights(sam, tmp_path)
    first = encoders.weights_sha256(tmp_path)
    assert encoders.weights_sha256(tmp_path) == first
    changed = encoders.build_sam(NAME, image_size=128)
    changed.load_state_dict(sam.state_dict())
    with torch.no_grad():
        changed.mask_decoder.iou_token.weight += 1
    encoders.save_run_weights(changed, tmp_path)
    assert encoders.weights_sha256(tmp_path) != first


def test_the_header_is_json_a_person_can_read(sam, tmp_path):
    encoders.save_sam(sam, tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"]["arch"] == NAME


def test_the_shipped_demo_is_a_whole_model_of_at_most_16_mb():
    demo = encoders.load("sam_demo")
    assert (demo.arch, demo.fused, demo.training) == ("sam_demo", False, False)
    assert demo.image_size == demo.image_encoder.image_size == 768
    assert all(torch.isfinite(tensor).all() for tensor in demo.state_dict().values())
    assert SHIPPED_WEIGHTS["sam_demo"].stat().st_size <= 16_000_000


def test_a_name_that_ships_weights_is_loaded_at_its_own_image_size(monkeypatch, tmp_path, randomise):
    demo = randomise(encoders.build_sam("sam_demo", image_size=192))
    encoders.save_sam(demo, tmp_path / "sam_demo.safetensors", dtype=torch.float16)
    monkeypatch.setitem(SHIPPED_WEIGHTS, "sam_demo", tmp_path / "sam_demo.safetensors")
    again = encoders.load("sam_demo")
    assert (again.arch, again.image_size) == ("sam_demo", 192)
    key = "image_encoder.neck.smooth.weight"
    assert torch.equal(again.state_dict()[key], demo.state_dict()[key].half().float())
    assert encoders.load("sam_demo", image_size=256).image_size == 256
    assert len(encoders.weights_sha256("sam_demo")) == 64
