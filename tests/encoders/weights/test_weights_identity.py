"""Equal weights give equal files, and a teacher is known by its tensors, in whatever file they are."""

import hashlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import encoders
from encoders.export.certification.tensors import weights_checksum
from encoders.weights.checkpoint import tensors_sha256

NAME = "repvit_m0_6"
RUN = ["encoder.safetensors", "decoder.safetensors"]


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return encoders.build_sam(NAME, image_size=64)


def test_the_same_model_is_written_as_the_same_bytes(sam, tmp_path):
    facts = {f"fact {number}": "ü" * number for number in range(8)}
    sums = set()
    for number in range(4):
        metadata = dict(sorted(facts.items(), reverse=bool(number % 2)))
        encoders.save_run_weights(sam, tmp_path, metadata=metadata)
        sums.add(tuple((tmp_path / file).read_bytes() for file in RUN))
    assert len(sums) == 1
    with safe_open(tmp_path / "encoder.safetensors", framework="pt") as file:
        assert facts.items() <= file.metadata().items()


def test_a_teacher_is_the_same_in_every_file(sam, tmp_path):
    state = sam.state_dict()
    encoders.save_run_weights(sam, tmp_path)
    encoders.save_sam(sam, tmp_path / "whole.safetensors", metadata={"note": "hello"})
    torch.save(dict(reversed(state.items())), tmp_path / "plain.pth")
    torch.save({"model": state, "epoch": 3}, tmp_path / "wrapped.pth")
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "plain.safetensors")
    files = [tmp_path, *(path for path in tmp_path.iterdir() if path.name not in RUN)]
    assert len(files) == 6
    assert {tensors_sha256(file) for file in files} == {weights_checksum(sam)}
    assert len({encoders.weights_sha256(file) for file in files}) == 6


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype"])
def test_another_teacher_is_told_by_any_difference(change, tmp_path):
    state = {"a": torch.tensor([0.0, 1.0, 2.0, 3.0]), "b": torch.zeros(2)}
    torch.save(state, tmp_path / "one.pth")
    key = "c" if change == "name" else "a"
    other = {
        "value": torch.tensor([-0.0, 1.0, 2.0, 3.0]),
        "name": state["a"],
        "shape": state["a"].reshape(2, 2),
        "dtype": state["a"].view(torch.int32),
    }[change]
    torch.save({key: other, "b": state["b"]}, tmp_path / "other.pth")
    assert tensors_sha256(tmp_path / "one.pth") != tensors_sha256(tmp_path / "other.pth")


def test_a_cache_that_recorded_the_files_checksum_is_known_to_be_this_teachers(sam, tmp_path):
    encoders.save_run_weights(sam, tmp_path)
    encoders.save_sam(sam, tmp_path / "whole.safetensors")
    sums = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in RUN]
    of_the_run = hashlib.sha256("".join(sums).encode()).hexdigest()
    of_the_file = hashlib.sha256((tmp_path / "whole.safetensors").read_bytes()).hexdigest()
    assert tensors_sha256(tmp_path, recorded=of_the_run) == of_the_run
    assert tensors_sha256(tmp_path / "whole.safetensors", recorded=of_the_file) == of_the_file
    mine = tensors_sha256(tmp_path)
    assert tensors_sha256(tmp_path, recorded=mine) == mine
    assert tensors_sha256(tmp_path, recorded=of_the_file) == mine  # of other bytes: the caller sees that they differ
    assert tensors_sha256(tmp_path, recorded="0" * 64) == mine


def test_caches_of_the_shipped_teacher_are_still_its():
    shipped = "29b5726a95bead4cb3290af2cd825feac53209c1c664102df5320de6f3a02c26"
    assert encoders.weights_sha256("sam_demo") == shipped
    assert tensors_sha256("sam_demo", recorded=shipped) == shipped
    assert tensors_sha256("sam_demo") != shipped


def test_damaged_weights_have_no_identity(sam, tmp_path):
    encoders.save_sam(sam, tmp_path / "m.safetensors")
    data = bytearray((tmp_path / "m.safetensors").read_bytes())
    data[-3] ^= 4
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(encoders.InputError, match="damaged"):
        tensors_sha256(tmp_path / "m.safetensors")


def test_a_file_of_the_first_release_is_read(sam, tmp_path):
    facts = {"format": "repvit-sam-1", "arch": NAME, "image_size": "64", "fused": "false"}
    save_file(sam.state_dict(), tmp_path / "old.safetensors", metadata=facts)
    again = encoders.load(tmp_path / "old.safetensors")
    assert (again.arch, again.image_size, again.fused) == (NAME, 64, False)
    found = again.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in sam.state_dict().items())


def test_other_programs_read_what_we_write(sam, tmp_path):
    encoders.save_sam(sam, tmp_path / "m.safetensors")
    read = load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(value, read[key]) for key, value in sam.state_dict().items())
