"""The job: all of an export or nothing of it."""

import copy
import json
import os
import shutil

import pytest
import torch

import encoders
from encoders.errors import InputError
from encoders.export import ExportRequest, export_model, read_certificate
from encoders.export import job as job_module


@pytest.fixture
def request_(live_sam, export_photos, tmp_path):
    def make(**changes):
        given = {"sam": live_sam, "out": tmp_path / "out", "format": "plain", "samples": export_photos, "weights": "live"}
        return ExportRequest(**(given | {"trained": False} | changes))

    return make


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_a_certificate_says_what_was_exported_and_how_near_it_is(plain_format, request_, tmp_path):
    made = export_model(request_(licence="CC0"))
    assert read_certificate(tmp_path / "out") == made
    assert made.model.arch == "repvit_m0_6" and made.model.image_size == 64 and not made.model.trained
    assert made.model.zero_weight_share < 0.01 and made.model.licence == "CC0"
    assert 0 < made.fusion.random_batchnorm < 1e-4
    runtime, phone = made.runtimes
    assert phone.name == "Plain on a phone" and phone.how == "not run here" and phone.measures is None
    assert runtime.how == "executed" and runtime.measures.prompts == 2 * (1 + 1 + 3)
    assert 0 < runtime.measures.embedding_relative_error < 1e-4 and runtime.measures.iou_mean > 0.999
    assert set(made.files) == {"model.safetensors", "reference.json"}
    assert set(made.photos) == {"wide", "tall", "bare"}
    assert left(tmp_path) == ["out"]


@pytest.mark.parametrize("tensor", ["image_encoder.stem.conv1.weight", "image_encoder.stages.2.blocks.2.se.fc1.weight"])
def test_a_tensor_that_is_off_by_five_percent_fails_and_leaves_nothing(plain_format, request_, tmp_path, tensor):
    plain_format.damage = tensor
    with pytest.raises(InputError, match="embedding_relative_error .* at most 5e-05 allowed"):
        export_model(request_())
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "tensor",
    [
        "mask_decoder.mask_tokens.weight",
        "mask_decoder.iou_prediction_head.layers.1.weight",
        "mask_decoder.output_hypernetworks_mlps.3.layers.1.weight",
        "mask_decoder.output_upscaling.0.weight",
        "mask_decoder.transformer.layers.1.mlp.lin1.weight",
        "mask_decoder.transformer.final_attn_token_to_image.v_proj.weight",
        "prompt_encoder.point_embeddings.0.weight",
        "prompt_encoder.mask_downscaling.3.weight",
    ],
)
def test_a_decoder_that_is_off_fails_by_its_logits_or_scores(plain_format, request_, tmp_path, tensor):
    plain_format.damage = tensor
    with pytest.raises(InputError, match="logits_relative_error|score_max_difference"):
        export_model(request_())
    assert left(tmp_path) == []


@pytest.mark.parametrize("tensor", ["image_encoder.stem.conv1.c.weight", "mask_decoder.iou_prediction_head.layers.2.bias"])
def test_a_model_with_weights_that_are_not_finite_is_refused(plain_format, request_, tmp_path, live_sam, tensor):
    broken = copy.deepcopy(live_sam)
    broken.get_parameter(tensor).data.view(-1)[0] = float("nan")
    with pytest.raises(InputError, match="not finite on photo wide|differs from the unfused one by nan"):
        export_model(request_(sam=broken))
    assert left(tmp_path) == []


def test_a_model_in_train_mode_is_refused(plain_format, request_, tmp_path, live_sam):
    live_sam.image_encoder.stages[1].train()
    try:
        with pytest.raises(InputError, match=r"image_encoder.stages.1 is training.*sam.eval\(\)"):
            export_model(request_())
    finally:
        live_sam.eval()
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["repvit_m0_6", "repvit_m0_9"])
def test_an_untrained_model_is_refused_with_its_share_of_zeros(plain_format, request_, tmp_path, name):
    fresh = encoders.build_sam(name, image_size=64)
    with pytest.raises(InputError, match=r"my.pt looks untrained: (3|4)\d\.\d% of its fused weights.*--untrained ARCH"):
        export_model(request_(sam=fresh, weights="my.pt"))
    assert left(tmp_path) == []


def test_an_export_is_replaced_only_on_request_and_other_folders_never(plain_format, request_, tmp_path):
    export_model(request_())
    before = (tmp_path / "out" / "certificate.json").stat().st_ino
    with pytest.raises(InputError, match="holds an export already.*--overwrite"):
        export_model(request_())
    export_model(request_(overwrite=True))
    assert (tmp_path / "out" / "certificate.json").stat().st_ino != before
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="is not an export; choose another folder"):
        export_model(request_(out=mine, overwrite=True))
    assert (mine / "thesis.txt").read_text() == "all of it"
    assert left(tmp_path) == ["out", "thesis"]


def test_an_export_that_is_replaced_by_a_failing_one_stays(plain_format, request_, tmp_path):
    made = export_model(request_())
    plain_format.damage = "image_encoder.stem.conv1.weight"
    with pytest.raises(InputError):
        export_model(request_(overwrite=True))
    assert read_certificate(tmp_path / "out") == made


def test_an_unknown_precision_format_or_tool_is_named(request_, tmp_path):
    with pytest.raises(InputError, match="'onxx'.*did you mean onnx"):
        export_model(request_(format="onxx"))
    with pytest.raises(InputError, match="unknown tool 'labelme'"):
        export_model(request_(format=None, target="labelme"))
    with pytest.raises(InputError, match="cannot be written in 'int3'; expected one of fp32"):
        export_model(request_(format="onnx", precision="int3"))
    assert left(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(plain_format, request_, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_module, "write_certificate", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device, \d+ MiB free\)"):
        export_model(request_())
    assert left(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs to mount a small file system")
def test_a_disk_that_fills_up_while_weights_are_written_is_said(plain_format, request_, tmp_path):
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(InputError, match="cannot be written"):
            export_model(request_(out=small / "out"))
        assert left(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_file_in_the_way_is_said(plain_format, request_, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        export_model(request_(out=blocked / "out"))


def test_values_that_are_not_finite_are_refused(plain_format, request_, tmp_path, live_sam):
    fused = encoders.fuse(live_sam)
    with torch.no_grad():
        fused.image_encoder.stem.conv1.weight[0, 0, 0, 0] = float("nan")
    plain_format.write = lambda sam, folder, *, precision: encoders.save_sam(fused, folder / "model.safetensors")
    with pytest.raises(InputError, match="not finite on photo wide"):
        export_model(request_())
    assert left(tmp_path) == []


def test_the_certificate_is_json_that_a_machine_reads(plain_format, request_, tmp_path):
    export_model(request_())
    content = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert content["runtimes"][0]["how"] == "executed" and content["version"] == 1
    assert all(len(file["sha256"]) == 64 for file in content["files"].values())
