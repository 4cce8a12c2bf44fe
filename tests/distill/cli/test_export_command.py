"""`repvit-sam export` and `export verify`, from a checkpoint to an evaluated artefact."""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout

import pytest
import torch

import encoders
from distill.cli import export_photos
from distill.cli.app import main
from distill.cli.export import licences_of_run
from distill.jobs.sample_data import resolve_data
from encoders.errors import InputError
from encoders.export.certification.fusion_check import randomize_batchnorm
from encoders.image_encoders.repvit import build_classifier
from eval_zeroshot import read_results

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SMALL = ("--image-size", 64, "--num-photos", 2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """sam_demo as ONNX at 64 px, made by the command; and what it printed."""
    out = tmp_path_factory.mktemp("export") / "onnx"
    words = ["export", "-m", "sam_demo", *map(str, SMALL), "--format", "onnx", "--out", str(out), "--json"]
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["repvit-sam", *words])
        main()
    assert not stopped.value.code
    return out, json.loads(printed.getvalue())


def test_json_is_the_certificate_that_lies_beside_the_files(exported):
    out, printed = exported
    assert json.loads((out / "certificate.json").read_text()) == printed
    assert {path.name for path in out.iterdir()} == {"encoder.onnx", "decoder.onnx", "reference.json", "certificate.json"}
    assert printed["model"]["trained"] and printed["model"]["weights_sha256"] == encoders.weights_sha256("sam_demo")
    (runtime,) = (one for one in printed["runtimes"] if one["measures"])
    assert runtime["how"] == "executed" and runtime["precision"] == "fp32"
    assert runtime["measures"]["iou_photo_min"] >= 0.999


def test_verify_says_what_it_checked_and_finds_a_changed_file(exported, command, tmp_path):
    out, _ = exported
    code, printed, _ = command("export", "verify", out)
    assert code == 0 and "3 files as certified" in printed and "executed in fp32: mask IoU 1.0000" in printed
    code, printed, _ = command("export", "verify", out, "--json")
    assert code == 0 and json.loads(printed)["runtime"]["how"] == "executed"
    copy = shutil.copytree(out, tmp_path / "copy")
    (copy / "encoder.onnx").write_bytes((copy / "encoder.onnx").read_bytes()[:-1])
    code, printed, err = command("export", "verify", copy)
    assert code == 2 and printed == "" and err.strip().endswith("encoder.onnx was changed; export the model again")


def test_an_export_is_evaluated_like_any_model(exported, command, tmp_path):
    out, _ = exported
    code, _, err = command(
        "eval", "-m", "torch=sam_demo", "-m", f"onnx={out}", "--reference", "torch", "--image-size", 64, "-s", "box",
        "-s", "point", "--data", "sample:val", "--limit", 2, "--out", tmp_path / "r.jsonl",
    )  # fmt: skip
    assert code == 0, err
    values = {(one.suite, one.model): one.value for one in read_results(tmp_path / "r.jsonl")}
    for suite in ("box", "point"):
        assert values[suite, "onnx"] == pytest.approx(values[suite, "torch"], abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "sam_demo"], "give either --format or --for"),
        (["-m", "sam_demo", "--format", "onnx", "--for", "web"], "give either --format or --for"),
        (["--format", "onnx"], "give either --model or --untrained"),
        (["-m", "sam_demo", "--untrained", "tiny_vit", "--format", "onnx"], "give either --model or --untrained"),
        (["--untrained", "repvit_m0_8", "--format", "onnx"], "unknown model 'repvit_m0_8'"),
        (["-m", "sam_demo", "--format", "onnx", "--photos", "nowhere.json"], "nowhere.json"),
        (["-m", "no_such_run", "--format", "onnx"], "no_such_run does not exist"),
        (["-m", "sam_demo", "--format", "onnx", "--points", "3"], "onnx takes no --prompts or --points"),
        (["-m", "sam_demo", "--format", "coreml", "--points", "1"], "takes 2; expected 2 or more among them"),
        (["-m", "sam_demo", "--format", "coreml", "--points", "x"], "'x' is not a valid count"),
        (["-m", "sam_demo", "--format", "coreml", "--prompts", "999999"], "expected at most 1024"),
        (["-m", "sam_demo", "--format", "onnx", "--aspect", "wide"], "'wide' is not an aspect ratio"),
        (["-m", "sam_demo", "--format", "onnx", "--aspect", "99:1"], "none of the photos of sample:val fits"),
        (["-m", "sam_demo", "--format", "onnx", "--aspect", "3:2"], "cannot run without padding"),
        (["-m", "sam_demo", "--format", "onnx", "--precise-bn", "no_cache"], "no_cache"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(command, tmp_path, arguments, said):
    code, printed, err = command("export", *arguments, *SMALL, "--out", tmp_path / "out")
    assert code == 2 and printed == "" and said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_untrained_checkpoint_is_refused(command, tmp_path):
    encoders.save_sam(encoders.build_sam("repvit_m0_6", image_size=64), tmp_path / "fresh.safetensors")
    arguments = ("export", "-m", tmp_path / "fresh.safetensors", "--format", "onnx", "--num-photos", 1)
    code, _, err = command(*arguments, "--out", tmp_path / "out")
    assert code == 2 and "looks untrained" in err and not (tmp_path / "out").exists()


def test_photos_are_found_by_name_and_not_all_of_them_are_read(tmp_path, monkeypatch):
    read = []
    real = export_photos.iterate_photos
    monkeypatch.setattr(export_photos, "iterate_photos", lambda *a, **k: (read.append(s.key) or s for s in real(*a, **k)))
    first = export_photos.first_photos("sample:val", limit=3)
    assert len(first) == len(read) == 3
    assert [s.key for s in export_photos.named_photos("sample:val", keys={first[1].key})] == [first[1].key] and len(read) == 5


def test_a_folder_of_photos_with_annotations_is_a_data_set_and_one_without_is_photos_alone(tmp_path):
    val = resolve_data("sample:val").parent
    (sample,) = export_photos.first_photos(str(val), limit=1)
    assert len(sample.boxes)
    photo = next((val / "images").iterdir())
    shutil.copy(photo, tmp_path)
    (bare,) = export_photos.first_photos(str(tmp_path), limit=9)
    assert not len(bare.boxes)
    moved = shutil.copy(val / "instances.json", tmp_path / "elsewhere.json")
    (found,) = export_photos.first_photos(str(moved), images=val / "images", limit=1)
    assert found.key == sample.key and len(found.boxes) == len(sample.boxes)


def test_verify_of_what_is_no_export_is_said(command, tmp_path):
    code, _, err = command("export", "verify", tmp_path)
    assert code == 2 and "is not a finished export" in err


def test_licences_that_a_run_names_are_those_of_the_export(tmp_path):
    assert licences_of_run("sam_demo") is None and licences_of_run(None) is None
    (tmp_path / "run.json").write_text('{"licences": {"teacher": "Apache-2.0", "data": "CC BY 4.0"}}')
    assert licences_of_run(str(tmp_path)) == "teacher: Apache-2.0; data: CC BY 4.0"
    for damaged in ("{", "[]", '{"licences": 3}', '{"licences": {"data": [1]}}', "[" * 100_000):
        (tmp_path / "run.json").write_text(damaged)
        with pytest.raises(InputError, match="run.json is damaged"):
            licences_of_run(str(tmp_path))


def test_classifiers_are_asked_for_in_words_a_user_can_mend(command, tmp_path):
    arguments = ("export", "classifier", "--out", tmp_path / "out")
    code, _, err = command(*arguments, "--arch", "repvit_m0_9", "--weights", tmp_path / "none.pth")
    assert code == 2 and "none.pth" in err and "Traceback" not in err
    (tmp_path / "some.pth").write_bytes(b"not a checkpoint")
    code, _, err = command(*arguments, "--arch", "repvit_m0_7", "--weights", tmp_path / "some.pth")
    assert code == 2 and "repvit_m0_7" in err
    code, _, err = command(*arguments, "--arch", "repvit_m0_9", "--weights", tmp_path / "some.pth")
    assert code == 2 and "some.pth" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # 10 seconds, most of them Core ML's conversion
def test_a_classifier_is_exported_with_its_report(command, tmp_path):
    pytest.importorskip("coremltools")
    network = build_classifier("repvit_m0_6", num_classes=7)
    randomize_batchnorm(network)
    torch.save({"model": network.state_dict()}, tmp_path / "weights.pth")
    code, printed, err = command(
        "export", "classifier", "--arch", "repvit_m0_6", "--weights", tmp_path / "weights.pth", "--resolution", 64,
        "--num-photos", 2, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(printed)
    assert report["classes"] == 7 and report["how"] in ("interpreted", "executed") and report["logits_error"] < 5e-3
    assert (tmp_path / "out" / "repvit_m0_6_64.mlpackage").is_dir()
