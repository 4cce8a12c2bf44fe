"""SAM's weights in the files of others: timm, SAM-HQ, MedSAM, HuggingFace."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import encoders
from encoders.contract import PIXEL_MEAN, PIXEL_STD
from encoders.errors import InputWarning
from encoders.image_encoders.sam_vit import SAM_VIT_SIZES, SamVitEncoder, SamVitSize
from encoders.registry import BUILDERS
from encoders.weights.keymaps import identify, key_table

ANSWERS = Path(__file__).parents[1] / "data" / "hf_sam_answers.json"
SIZE = 256


@pytest.fixture
def small_vit(monkeypatch):
    """A ViT of two blocks, one windowed and one global, in the registry."""
    monkeypatch.setitem(SAM_VIT_SIZES, "sam_vit_xs", SamVitSize(width=32, depth=2, heads=2, global_blocks=(1,)))
    monkeypatch.setitem(BUILDERS, "sam_vit_xs", partial(SamVitEncoder, "sam_vit_xs"))
    return "sam_vit_xs"


def drawn_state(shapes):
    """Weights that are a function of names and shapes alone, the same on every machine."""
    random = np.random.RandomState(7)  # its stream never changes
    state = {}
    for key in sorted(shapes):
        values = random.standard_normal(shapes[key]).astype(np.float32) * 0.05
        state[key] = torch.from_numpy(values + (1.0 if "norm" in key and key.endswith("weight") else 0.0))
    return state


def drawn_image(size=SIZE):
    return torch.from_numpy(np.random.RandomState(8).standard_normal((1, 3, size, size)).astype(np.float32))


def shapes_of(state):
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def message(path, **options):
    with pytest.raises(encoders.InputError) as caught:
        encoders.load(path, **options)
    return str(caught.value)


@pytest.fixture
def timm_file(small_vit, randomise, tmp_path):
    """timm's model of the small ViT, and its file."""
    theirs = timm.create_model(
        "samvit_base_patch16", num_classes=0, img_size=SIZE, embed_dim=32, depth=2, num_heads=2, global_attn_indexes=[1]
    )
    randomise(theirs).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    return theirs, tmp_path / "model.safetensors"


def test_timm_gives_its_embedding_with_the_decoder_of_another_file(timm_file, randomise, tmp_path):
    theirs, path = timm_file
    other = randomise(encoders.build_sam("repvit_m0_6", image_size=64), seed=3)
    encoders.save_sam(other, tmp_path / "decoder.safetensors")
    sam = encoders.load(path, image_size=SIZE, decoder=tmp_path / "decoder.safetensors")
    assert sam.arch == "sam_vit_xs"
    with torch.inference_mode():
        expected = theirs.forward_features(drawn_image())
        assert expected.std() > 0.1
        assert (sam.image_encoder(drawn_image()) - expected).abs().max() <= 1e-4
    found = sam.state_dict()
    decoder = {key: value for key, value in other.state_dict().items() if not key.startswith("image_encoder.")}
    assert len(decoder) == 137 and all(torch.equal(found[key], value) for key, value in decoder.items())


def test_an_image_encoder_alone_asks_for_a_decoder(timm_file, tmp_path):
    text = message(timm_file[1], image_size=SIZE)
    assert "timm's samvit, the image encoder of sam_vit_xs" in text and "without prompt encoder and mask decoder" in text
    assert "teacher.decoder" in text
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert "does not fit SAM's prompt encoder" in message(timm_file[1], image_size=SIZE, decoder=tmp_path / "x.safetensors")


def test_so_does_any_models_encoder_without_the_rest(tmp_path):
    state = encoders.build_sam("sam_demo", image_size=64).state_dict()
    save_file({key: value for key, value in state.items() if key.startswith("image_encoder.")}, tmp_path / "m.safetensors")
    text = message(tmp_path / "m.safetensors", arch="sam_demo", image_size=64)
    assert "is sam_demo, without prompt encoder and mask decoder; give a file that has them as decoder" in text


def test_another_size_is_named(timm_file):
    text = message(timm_file[1])
    assert "pos_embed is (1, 16, 16, 32), expected (1, 64, 64, 32)" in text and "at image size 256" in text


@pytest.mark.parametrize(("size", "timms"), [("b", "base"), ("l", "large"), ("h", "huge")])
def test_timms_names_and_shapes(size, timms):
    with torch.device("meta"):
        theirs = shapes_of(timm.create_model(f"samvit_{timms}_patch16.sa1b").state_dict())
        ours = shapes_of(encoders.build_image_encoder(f"sam_vit_{size}", image_size=1024).state_dict())
    table = key_table(f"sam_vit_{size}", kind="timm")
    assert {table.official(f"image_encoder.{key}"): shape for key, shape in ours.items()} == theirs
    looks = identify(theirs)
    assert (looks.arch, looks.kind, looks.loadable) == (f"sam_vit_{size}", "timm", True)
    assert encoders.registry.model_of(f"samvit_{timms}_patch16.sa1b") == f"sam_vit_{size}"


def test_timms_vit_without_a_neck_is_no_encoder(tmp_path):
    save_file({"blocks.0.attn.rel_pos_h": torch.zeros(27, 64)}, tmp_path / "m.safetensors")
    assert "without position embedding or neck" in message(tmp_path / "m.safetensors")


def test_huggingface_gives_the_answers_of_transformers(small_vit, key_list, tmp_path):
    """Recorded from transformers' SamModel; the weights are drawn anew from its names and shapes."""
    answers = json.loads(ANSWERS.read_text())
    save_file(drawn_state(key_list("hf_sam_xs")), tmp_path / "model.safetensors")
    sam = encoders.load(tmp_path, image_size=SIZE)
    assert sam.arch == "sam_vit_xs"
    with torch.inference_mode():
        embedding = sam.image_encoder(drawn_image())
        points, labels = torch.tensor([[[60.0, 35.0], [190.0, 80.0]]]), torch.tensor([[1, 0]])
        index = torch.zeros(1, dtype=torch.int64)
        logits, scores = sam.decode(embedding, image_index=index, points=points, labels=labels)
        boxed, _ = sam.decode(embedding, image_index=index, boxes=torch.tensor([[20.0, 30.0, 150.0, 99.0]]), multimask=False)
        again, _ = sam.decode(embedding, image_index=index, points=points, labels=labels, masks=boxed, multimask=False)
    for name, found in {"embedding": embedding, "logits": logits, "scores": scores, "boxed": boxed, "again": again}.items():
        recorded = torch.tensor(answers[name])
        assert recorded.std() > 1e-3
        assert (found.flatten()[:: answers["stride"][name]] - recorded).abs().max() <= 1e-4, name


def test_huggingfaces_names_and_shapes_of_vit_b(key_list):
    names = key_list("hf_sam_vit_b")
    with torch.device("meta"):
        ours = shapes_of(encoders.build_sam("sam_vit_b").state_dict())
    table = key_table("sam_vit_b", kind="huggingface")
    mapped = {table.official(key): shape for key, shape in ours.items()}
    assert len(mapped) == len(ours) and mapped == names
    looks = identify(names)
    assert (looks.arch, looks.kind, looks.loadable) == ("sam_vit_b", "huggingface", True)


def test_huggingfaces_second_name_of_the_positions_may_be_there_or_stand_alone(small_vit, key_list, tmp_path):
    state = drawn_state(key_list("hf_sam_xs"))
    first, second = "shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"
    torch.save(state | {second: state[first].clone()}, tmp_path / "both.bin")
    torch.save({second if key == first else key: value for key, value in state.items()}, tmp_path / "second.bin")
    for name in ("both.bin", "second.bin"):
        sam = encoders.load(tmp_path / name, image_size=SIZE)
        assert torch.equal(sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix, state[first])


@pytest.mark.parametrize(("file", "arch"), [("sam_hq_vit_b", "sam_vit_b"), ("sam_hq_vit_tiny", "tiny_vit")])
def test_sam_hq_is_sam_and_a_head_that_is_left_out(file, arch, key_list):
    names = key_list(file)
    table = key_table(arch, kind="sam_hq")
    looks = identify(names)
    assert (looks.arch, looks.kind, looks.loadable) == (arch, "sam_hq", True)
    head = {key: shape for key, shape in names.items() if key in table.unused and "head" not in key.split(".")[1]}
    assert {key: table.unused[key] for key in head} == head and sum("image_encoder" not in key for key in head) == 25
    with torch.device("meta"):
        ours = encoders.build_sam(arch).state_dict()
    assert {table.official(key): tuple(tensor.shape) for key, tensor in ours.items()} == {
        key: shape for key, shape in names.items() if key not in table.unused
    }


def test_sam_hq_loads_as_the_sam_that_it_keeps(small_vit, randomise, tmp_path):
    original = randomise(encoders.build_sam(small_vit, image_size=SIZE)).state_dict()
    head = {key: torch.ones(shape) for key, shape in key_table(small_vit, kind="sam_hq").unused.items()}
    torch.save(original | head, tmp_path / "sam_hq.pth")
    sam = encoders.load(tmp_path / "sam_hq.pth", image_size=SIZE)
    assert sam.arch == small_vit
    assert all(torch.equal(value, original[key]) for key, value in sam.state_dict().items())
    torch.save(original | head | {"mask_decoder.hf_more.weight": torch.zeros(1)}, tmp_path / "more.pth")
    assert "1 unexpected (mask_decoder.hf_more.weight)" in message(tmp_path / "more.pth", image_size=SIZE)


@pytest.fixture
def medsam_file(randomise, monkeypatch, tmp_path):
    """A ViT-B of two blocks under MedSAM's name, as its training on several GPUs saves it."""
    monkeypatch.setitem(SAM_VIT_SIZES, "sam_vit_b", SamVitSize(width=48, depth=2, heads=2, global_blocks=(1,)))
    sam = randomise(encoders.build_sam("sam_vit_b", image_size=SIZE))
    state = {f"module.{key}": value for key, value in sam.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "medsam_vit_b.pth")
    return sam, tmp_path / "medsam_vit_b.pth"


def test_medsam_sees_its_own_values_in_sams_pixels(medsam_file):
    original, path = medsam_file
    pixels = torch.randint(0, 256, (1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)).float()
    pixels.view(-1)[:2] = torch.tensor([0.0, 255.0])
    theirs = (pixels - pixels.min()) / (pixels.max() - pixels.min())  # MedSAM_Inference.py
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    ours = encoders.load(path, arch="medsam_vit_b", image_size=SIZE)
    assert ours.arch == "sam_vit_b"
    with torch.inference_mode():
        expected = original.image_encoder(theirs)
        assert (ours.image_encoder((pixels - mean) / std) - expected).abs().max() <= 1e-4
        assert (original.image_encoder((pixels - mean) / std) - expected).abs().max() > 0.1


def test_medsam_has_to_be_said_for_its_file_looks_like_sams(medsam_file):
    _, path = medsam_file
    text = message(path, image_size=SIZE)
    assert "scaled to 0..1" in text and "arch='medsam_vit_b' (--arch medsam_vit_b)" in text
    with pytest.warns(InputWarning, match="its embeddings are not MedSAM's; say arch='medsam_vit_b'"):
        encoders.load(path, arch="sam_vit_b", image_size=SIZE)


def test_medsam_is_another_teacher_than_the_same_file_as_sam(medsam_file, tmp_path):
    _, path = medsam_file
    as_sam = encoders.tensors_sha256(path, arch="sam_vit_b")
    assert as_sam == encoders.tensors_sha256(path) != encoders.tensors_sha256(path, arch="medsam_vit_b")
    old = encoders.weights_sha256(path)
    assert encoders.tensors_sha256(path, arch="medsam_vit_b", recorded=old) != old
    encoders.save_sam(encoders.load(path, arch="medsam_vit_b", image_size=SIZE), tmp_path / "ours.safetensors")
    ours = tmp_path / "ours.safetensors"
    assert encoders.tensors_sha256(ours, arch="medsam_vit_b") == encoders.tensors_sha256(ours)
    assert encoders.load(ours, arch="medsam_vit_b").arch == "sam_vit_b"
