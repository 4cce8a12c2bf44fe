"""What has happened to a weights file on its way is noticed as far as its format allows, and never by a traceback."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import encoders
from encoders.model_names import SHIPPED_WEIGHTS
from encoders.weights.safetensors_files import write_safetensors
from encoders.weights.weights_file import read_weights
from tests.encoders.weights_damage import FACTS, WRITERS, mutated, small_state

KEY = "image_encoder.stem.conv1.c.weight"


def message(path, **options):
    with pytest.raises(encoders.InputError) as caught:
        encoders.load(path, **options)
    return str(caught.value)


def flip(path, place, bit=0):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("fmt", WRITERS)
def test_an_undamaged_file_gives_what_was_written(fmt, tmp_path):
    state = small_state()
    WRITERS[fmt](state, tmp_path / "m.st")
    file = read_weights(tmp_path / "m.st")
    assert set(file.tensors) == set(state) and all(torch.equal(state[key], file.tensors[key]) for key in state)
    assert file.verified is (fmt == "ours")


@pytest.mark.parametrize("fmt", ["ours", "zip"])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_of_a_weight_is_noticed_where_there_is_a_checksum(fmt, bit, tmp_path):
    state = small_state()
    WRITERS[fmt](state, tmp_path / "m.st")
    place = (tmp_path / "m.st").read_bytes().index(state[KEY].numpy().tobytes())
    flip(tmp_path / "m.st", place + 40, bit)
    assert "m.st is damaged" in message(tmp_path / "m.st", arch="repvit_m0_6")


@pytest.mark.parametrize("fmt", ["legacy", "safetensors of others", "ours without a checksum"])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (KEY, float("nan"), "NaN or infinite"),
        (KEY, float("-inf"), "NaN or infinite"),
        (KEY, -1.9e37, "the value -1.9e+37, expected -1e+06 to 1e+06"),
        ("image_encoder.stem.conv1.bn.running_var", -0.5, "the value -0.5, expected 0 to 1e+12"),
        ("image_encoder.stem.conv1.bn.running_var", 2e12, "the value 2e+12"),
        ("mask_decoder.iou_token.weight", float("inf"), "NaN or infinite"),
    ],
)
def test_an_absurd_value_is_refused_with_its_tensors_name(fmt, key, value, said, tmp_path):
    state = small_state()
    state[key].view(-1)[3] = value
    WRITERS[fmt](state, tmp_path / "m.st")
    text = message(tmp_path / "m.st", arch="repvit_m0_6")
    assert f"{key} holds" in text and said in text


def test_large_counts_variances_and_weights_are_no_damage(tmp_path):
    state = small_state() | {"a.num_batches_tracked": torch.tensor(float("inf")), "ids": torch.tensor([2**62])}
    state[KEY].view(-1)[0] = 9e5
    state["image_encoder.stem.conv1.bn.running_var"][0] = 9e11
    state["image_encoder.stem.conv1.bn.running_var"][1] = 0
    WRITERS["legacy"](state, tmp_path / "m.pth")
    assert set(read_weights(tmp_path / "m.pth").tensors) == set(state)


def test_a_changed_image_size_in_a_header_is_noticed(tmp_path):
    write_safetensors(tmp_path / "m.safetensors", small_state(), metadata=FACTS | {"image_size": "1024"})
    data = (tmp_path / "m.safetensors").read_bytes()
    assert data.count(b'"1024"') == 1
    (tmp_path / "m.safetensors").write_bytes(data.replace(b'"1024"', b'"9024"'))  # one bit; 141 times 64
    assert "m.safetensors is damaged: its content has the sha256" in message(tmp_path / "m.safetensors")


def test_damaged_shipped_weights_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "sam_demo.safetensors"
    path.write_bytes(SHIPPED_WEIGHTS["sam_demo"].read_bytes())
    monkeypatch.setitem(SHIPPED_WEIGHTS, "sam_demo", path)
    assert encoders.load("sam_demo").arch == "sam_demo"
    flip(path, path.stat().st_size // 2)
    assert "sam_demo.safetensors is damaged: its content" in message("sam_demo")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"image_size": "abc"}, "image_size is 'abc'"),
        ({"image_size": "-64"}, "image_size is '-64'"),
        ({"image_size": "64000000"}, "image_size is '64000000'"),
        ({"image_size": "9" * 5000}, "image_size is '999"),
        ({"image_size": "100"}, "multiple of 64"),
        ({"fused": "maybe"}, "fused is 'maybe'"),
        ({"arch": "repvit\x1b[2J"}, r"unknown model 'repvit\\x1b[2J'"),
    ],
)
def test_metadata_that_make_no_sense(facts, said, tmp_path):
    save_file(small_state(), tmp_path / "m.safetensors", metadata=FACTS | facts)
    text = message(tmp_path / "m.safetensors")
    assert said in text and text.isprintable() and len(text) < 500


def test_metadata_without_an_architecture(tmp_path):
    save_file(small_state(), tmp_path / "m.safetensors", metadata={"format": "repvit-sam-1"})
    assert "its metadata say no arch" in message(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"\x80\x02", b"\x80\x02}q", b"\x80\x04\x95\xff", b"\x80" * 40, b"PK", b"PK\x05\x06" + bytes(18), b"{" * 20],
)
def test_files_that_end_early(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert f"{name} is " in message(tmp_path / name, arch="repvit_m0_6")


@pytest.mark.parametrize("length", [2**62, 2**31, 10**6, 3])
def test_a_header_of_the_wrong_length(length, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(length.to_bytes(8, "little") + b'{"a":{}}')
    assert "is damaged" in message(tmp_path / "m.safetensors")


def test_floats_that_are_called_integers(tmp_path):
    state = small_state()
    save_file(state, tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header[KEY]["dtype"] = "I32"
    (tmp_path / "m.safetensors").write_bytes(
        data[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(length) + data[8 + length :]
    )
    found = read_weights(tmp_path / "m.safetensors")
    with pytest.raises(encoders.InputError, match=f"{KEY} is int32, expected floating-point numbers"):
        encoders.weights.checkpoint.fitting(found, dict(found.tensors), state, wanted="it")


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    torch.save({"a": torch.zeros(500_000)}, tmp_path / "m.pth")
    with zipfile.ZipFile(tmp_path / "m.pth") as plain:
        content = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in content.items():
            new.writestr(name, data)
    assert "compressed" in message(tmp_path / "small.pth", arch="repvit_m0_6")


def test_tensors_that_are_not_plain_and_names_that_are_none(tmp_path):
    for content in ({"a": torch.eye(3).to_sparse()}, {"a": torch.zeros(2, device="meta")}, {3: torch.zeros(2)}):
        torch.save(content, tmp_path / "m.pth")
        assert "expected a dict of named tensors" in message(tmp_path / "m.pth", arch="repvit_m0_6")


def test_names_from_a_file_are_safe_to_print(tmp_path):
    torch.save({"\x1b[2Jred": torch.zeros(2), "half \ud800": torch.zeros(2), "n" * 9000: torch.zeros(2)}, tmp_path / "m.pth")
    text = message(tmp_path / "m.pth", arch="repvit_m0_6")
    assert text.isprintable() and len(text) < 1500 and r"\x1b[2Jred" in text


@pytest.mark.parametrize(
    "key", ["image_encoder.features.0.2.c.weight", "image_encoder.pos_embed", "features.0.2.c.weight", "stem.conv2.c.weight"]
)
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
def test_a_telling_name_with_a_strange_shape(key, shape, tmp_path):
    torch.save({key: torch.zeros(shape), "image_encoder.features." + "9" * 5000 + ".a": torch.zeros(2)}, tmp_path / "m.pth")
    assert "looks like" in message(tmp_path / "m.pth", arch="repvit_m0_6")


@pytest.mark.parametrize("stats", [{}, {"weight": torch.ones(4)}, {"weight": torch.tensor(1.0), "bias": torch.ones(9)}])
def test_a_legacy_branch_that_is_not_whole_is_named(stats, tmp_path):
    sam = encoders.build_sam("repvit_m0_6", image_size=64)
    branch = "stages.0.blocks.0.token_mixer.conv1"
    state = {key: value for key, value in sam.image_encoder.state_dict().items() if not key.startswith(branch)}
    state |= {f"{branch}.c.weight": torch.zeros(8, 1, 1, 1)} | {f"{branch}.bn.{key}": value for key, value in stats.items()}
    torch.save({key: value for key, value in state.items() if not key.startswith("neck.")}, tmp_path / "m.pth")
    with pytest.raises(encoders.InputError, match=rf"unexpected \({branch}.c.weight"):
        encoders.init_from_imagenet(sam, tmp_path / "m.pth")


@pytest.mark.parametrize(("name", "said"), [("a\0b", r"a\x00b does not exist"), ("x" * 5000, "cannot be opened")])
def test_names_that_no_file_can_have(name, said):
    assert said in message(name) and len(message(name)) < 300


def test_a_whole_module_is_no_state_dict(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    assert "give a file that torch.save made of a state dict" in message(tmp_path / "script.pt", arch="repvit_m0_6")


def test_an_entry_that_is_marked_as_a_folder_is_refused(tmp_path):
    """torch would leave its tensor with whatever the memory held before."""
    torch.save(small_state(), tmp_path / "m.pth")
    entries = (tmp_path / "m.pth").read_bytes().index(b"PK\x01\x02")
    flip(tmp_path / "m.pth", entries + 38, bit=4)
    assert "a folder" in message(tmp_path / "m.pth", arch="repvit_m0_6")


def test_an_archive_saved_without_checksums_says_how_to_save_it_again(tmp_path):
    content = io.BytesIO()
    torch.save(small_state(), content)
    data = bytearray(content.getvalue())
    central = data.rindex(b"PK\x01\x02")
    data[central + 16] ^= 1  # the last entry's checksum
    (tmp_path / "m.pth").write_bytes(data)
    assert "set_crc32_options" in message(tmp_path / "m.pth", arch="repvit_m0_6")


def test_a_pickle_of_our_names_that_holds_other_things(tmp_path):
    (tmp_path / "m.pth").write_bytes(pickle.dumps({"model": {"a": [1] * 100}}, protocol=2))
    assert "m.pth" in message(tmp_path / "m.pth", arch="repvit_m0_6")


@pytest.mark.parametrize("fmt", WRITERS)
def test_no_accident_ends_in_a_traceback_and_none_is_missed_where_there_is_a_checksum(fmt, tmp_path):
    state, path, rng = small_state(), tmp_path / "m.st", np.random.default_rng(13)
    WRITERS[fmt](state, path)
    data = path.read_bytes()
    refused = 0
    for _ in range(150):
        path.write_bytes(mutated(data, rng, head=1500))
        try:
            found = read_weights(path)
        except encoders.InputError as error:
            assert str(error).isprintable()
            refused += 1
            continue
        if fmt in ("ours", "zip"):
            assert set(found.tensors) == set(state)
            assert all(torch.equal(found.tensors[key], state[key]) for key in state)
        if fmt == "ours":
            assert found.metadata == FACTS or not found.verified
    assert refused > 75


@pytest.mark.slow
@pytest.mark.parametrize("fmt", WRITERS)
def test_a_whole_model_after_many_accidents(fmt, tmp_path):
    torch.manual_seed(0)
    sam = encoders.build_sam("repvit_m0_6", image_size=128)
    state = sam.state_dict() if fmt.startswith("ours") else encoders.official_state_dict(sam)
    path, rng = tmp_path / "m.st", np.random.default_rng(2)
    WRITERS[fmt](dict(state), path)
    data, written = path.read_bytes(), sam.state_dict()
    refused = 0
    for _ in range(400):
        path.write_bytes(mutated(data, rng, head=60_000))
        try:
            found = encoders.load(path, arch="repvit_m0_6", image_size=None if fmt == "ours" else 128)
        except encoders.InputError as error:
            assert str(error).isprintable()
            refused += 1
            continue
        loaded = found.state_dict()
        assert all(torch.isfinite(tensor).all() and tensor.abs().max() <= 1e6 for tensor in loaded.values() if tensor.numel())
        if fmt in ("ours", "zip"):
            assert (found.image_size, found.fused) == (128, False)
            assert all(torch.equal(loaded[key], written[key]) for key in written)
    assert refused > 150
