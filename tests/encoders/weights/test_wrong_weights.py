"""What a user gets who gives the wrong file."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

import encoders
from encoders.image_encoders.repvit import build_classifier
from encoders.model_names import SHIPPED_WEIGHTS


def message(path, **options):
    with pytest.raises(encoders.InputError) as caught:
        encoders.load(path, **options)
    return str(caught.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    encoders.save_run_weights(encoders.build_sam("repvit_m0_6", image_size=128), folder)
    return folder


def zeros(shapes):
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


def test_another_architecture_is_named_with_the_keys_that_differ(key_list, tmp_path):
    torch.save(zeros(key_list("mobile_sam")), tmp_path / "mobile_sam.pt")
    text = message(tmp_path / "mobile_sam.pt", arch="repvit_m2_3")
    assert "image_encoder.patch_embed.seq.0.c.weight" in text  # first unexpected
    assert "1455 missing (image_encoder.features.0.0.c.weight" in text  # the backbone; the necks have the same names
    assert "looks like MobileSAM (tiny_vit); try arch='tiny_vit'" in text


def test_another_width_is_named(tmp_path):
    torch.save(encoders.official_state_dict(encoders.build_sam("repvit_m1_0")), tmp_path / "student.pt")
    text = message(tmp_path / "student.pt", arch="repvit_m0_9")
    assert "image_encoder.features.0.0.c.weight is (28, 3, 3, 3), expected (24, 3, 3, 3)" in text
    assert "arch='repvit_m1_0'" in text


def test_one_unexpected_and_one_missing_key_are_enough(key_list, tmp_path):
    state = zeros(key_list("repvit_sam"))
    state["surprise"] = state.pop("mask_decoder.iou_token.weight")
    torch.save(state, tmp_path / "repvit_sam.pt")
    text = message(tmp_path / "repvit_sam.pt", arch="repvit_m2_3")
    assert "1 unexpected (surprise); 1 missing (mask_decoder.iou_token.weight)" in text


def test_segment_anything_is_told_by_its_size(tmp_path):
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 1280)}, tmp_path / "sam.pth")
    assert "segment-anything's sam_vit_h; try arch='sam_vit_h'" in message(tmp_path / "sam.pth", arch="repvit_m0_6")


def test_a_segment_anything_model_at_another_size_says_so(tmp_path):
    state = encoders.build_sam("sam_vit_b", image_size=128).state_dict()
    torch.save(state, tmp_path / "sam.pth")
    text = message(tmp_path / "sam.pth", arch="sam_vit_b", image_size=64)
    assert "image_encoder.pos_embed is (1, 8, 8, 768), expected (1, 4, 4, 768)" in text
    assert "at image size 128" in text


@pytest.mark.parametrize(
    ("key", "looks"),
    [
        ("image_encoder.fuse_stage2.weight", "EdgeSAM"),
        ("image_encoder.features.0.2.c.weight", "RepViT-SAM of a size"),
    ],
)
def test_relatives_are_recognised(key, looks, tmp_path):
    state = {"image_encoder.features.0.2.c.weight": torch.zeros(48, 24, 3, 3), key: torch.zeros(48, 24, 3, 3)}
    torch.save(state, tmp_path / "x.pt")
    assert looks in message(tmp_path / "x.pt")


def test_sam_2_is_recognised(tmp_path):
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1, 96, 7, 7)}}, tmp_path / "sam2.pt")
    assert "SAM 2" in message(tmp_path / "sam2.pt")


def test_an_imagenet_checkpoint_is_no_sam(tmp_path):
    torch.save({"model": {"features.0.2.c.weight": torch.zeros(80, 40, 3, 3), "features.54.x": torch.zeros(1)}},
               tmp_path / "repvit.pth")  # fmt: skip
    text = message(tmp_path / "repvit.pth")
    assert "ImageNet checkpoint of repvit_m2_3" in text and "it is no SAM" in text


def test_a_timm_checkpoint_is_no_sam(tmp_path):
    torch.save(build_classifier("repvit_m0_6").state_dict(), tmp_path / "timm.pth")
    assert "timm's RepViT" in message(tmp_path / "timm.pth", arch="repvit_m0_6")


def test_nothing_there(tmp_path):
    assert "does not exist" in message(tmp_path / "absent.pt", arch="repvit_m2_3")


def test_a_misspelt_name_suggests_the_right_one():
    assert "did you mean sam_demo?" in message("sam_dmo")


def test_a_name_without_weights_asks_for_its_checkpoint():
    assert "ships no weights" in message("repvit_m2_3")


def test_an_unknown_architecture_suggests_near_names(run):
    assert "repvit_m0_6" in message(run, arch="repvit_m06")


def test_shipped_weights_that_are_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(SHIPPED_WEIGHTS, "sam_demo", tmp_path / "sam_demo.safetensors")
    assert "weights of sam_demo are not installed" in message("sam_demo")
    with pytest.raises(encoders.InputError, match="not installed"):
        encoders.weights_sha256("sam_demo")


def test_an_unfinished_run(tmp_path):
    assert "no encoder.safetensors and no decoder.safetensors" in message(tmp_path)


def test_a_run_of_another_architecture(run):
    assert "holds repvit_m0_6, not tiny_vit" in message(run, arch="tiny_vit")


def test_two_files_of_different_runs(run, tmp_path):
    encoders.save_run_weights(encoders.build_sam("repvit_m0_9", image_size=128), tmp_path)
    (tmp_path / "decoder.safetensors").write_bytes((run / "decoder.safetensors").read_bytes())
    assert "arch is repvit_m0_6, the other's repvit_m0_9" in message(tmp_path)


@pytest.mark.parametrize("keep", [5, 2000, -10])
def test_a_cut_safetensors_file(run, tmp_path, keep):
    (tmp_path / "m.safetensors").write_bytes((run / "encoder.safetensors").read_bytes()[:keep])
    assert "damaged" in message(tmp_path / "m.safetensors")


@pytest.mark.parametrize("keep", [100, 5000, -10])
def test_a_cut_pytorch_file(tmp_path, keep):
    torch.save({"a": torch.zeros(5000)}, tmp_path / "m.pt")
    (tmp_path / "m.pt").write_bytes((tmp_path / "m.pt").read_bytes()[:keep])
    assert "damaged" in message(tmp_path / "m.pt", arch="repvit_m0_6")


@pytest.mark.parametrize("content", [b"", b"<html>404: Not Found</html>", b"\x89PNG\r\n\x1a\n0000000000"])
def test_no_checkpoint_at_all(tmp_path, content):
    (tmp_path / "m.pt").write_bytes(content)
    assert "is not a checkpoint" in message(tmp_path / "m.pt", arch="repvit_m0_6")


def test_a_python_file_is_told_how_eval_takes_it(tmp_path):
    (tmp_path / "mine.py").write_text("def build(): ...")
    assert "eval takes a model written in Python as mine:FUNCTION" in message(tmp_path / "mine.py")


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_pytorch_file_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "m.pt")
    assert "expected a dict of named tensors" in message(tmp_path / "m.pt", arch="repvit_m0_6")


class Evil:
    def __reduce__(self):
        return print, ("code from a checkpoint has run",)


@pytest.mark.parametrize("save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))])
def test_a_checkpoint_cannot_run_code(save, tmp_path, capsys):
    save({"model": Evil()}, tmp_path / "evil.pt")
    assert "could run its code" in message(tmp_path / "evil.pt", arch="repvit_m0_6")
    assert "has run" not in capsys.readouterr().out


def test_safetensors_of_somebody_else(tmp_path):
    save_file({"model.embed": torch.zeros(2)}, tmp_path / "llm.safetensors")
    assert "looks like no model known here" in message(tmp_path / "llm.safetensors")
