"""The file that users copy into an app: in this process, and in an environment of its own with its three packages alone."""

import ast
import importlib.util
import os
import subprocess
import sys
import venv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from encoders.export.targets import find_target
from encoders.export.targets.python import REQUIREMENTS, SEGMENT_FILE
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou

SESSIONS = "encoders.export.formats.onnx.open_session"


@pytest.fixture(scope="module")
def segment():
    pytest.importorskip("onnxruntime")
    return importlib.import_module("encoders.export.targets.segment")


@pytest.fixture(scope="module")
def segmenter(written, demo):
    """Of the copy in the folder, imported as a user does."""
    spec = importlib.util.spec_from_file_location("copied_segment", written("python", demo) / "segment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Segmenter()


@pytest.mark.slow  # writes the model: about 10 s of one core
def test_its_masks_are_ours(segmenter, demo, view, prompt, ours, iou):
    segmenter.set_image(view.image)
    points, labels = (prompt.points, prompt.labels) if len(prompt.points) else (None, None)
    masks, scores, logits = segmenter.predict(points, labels, prompt.box, multimask=False)
    assert masks.shape == (1, *view.shape) and scores.shape == (1,) and logits.shape == (1, 64, 64)
    expected = ours(demo, view, prompt)
    assert iou(masks[0], expected[0]) >= 0.999
    three, scores, _ = segmenter.predict(points, labels, prompt.box)
    assert scores.shape == (3,)
    assert all(np.mean(found == wanted) >= 0.999 for found, wanted in zip(three, expected[1:], strict=True))


@pytest.mark.slow  # shares the model with the test above
def test_a_mask_of_an_earlier_call_refines_the_next(segmenter, photos):
    segmenter.set_image(photos["tall"].image)
    box = photos["tall"].boxes[0]
    _, _, logits = segmenter.predict(box=box, multimask=False)
    _, _, again = segmenter.predict(box=box, mask_input=logits, multimask=False)
    assert np.abs(again - logits).max() > 0.1
    with pytest.raises(ValueError, match=r"mask_input is \(1, 9, 9\); expected \(1, 64, 64\)"):
        segmenter.predict(box=box, mask_input=np.zeros((1, 9, 9), np.float32))


def test_a_path_is_turned_upright_by_its_exif_data(segment, tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 15:] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    read = segment.read_photo(tmp_path / "turned.png")
    assert read.shape == (30, 20, 3) and read[:15].max() == 0 and read[15:].min() == 200
    assert segment.read_photo(Image.new("L", (4, 6))).shape == (6, 4, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no prompt is given"),
        ({"points": [[1, 2]]}, r"points are \(1, 2\), labels \(0,\)"),
        ({"points": [1, 2], "labels": [1]}, r"points are \(2,\)"),
        ({"box": [[1, 2, 3, 4]]}, r"the box is \(1, 4\)"),
    ],
)
def test_prompts_of_wrong_shapes_are_refused(segment, given, message):
    with pytest.raises(ValueError, match=message):
        segment.prompt_points(**({"points": None, "labels": None, "box": None} | given))


def test_a_photo_of_another_kind_and_a_missing_or_damaged_model_are_refused(segment, tmp_path):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB"):
        segment.read_photo(np.zeros((4, 4, 3)))
    with pytest.raises(FileNotFoundError, match=r"encoder.onnx is missing"):
        segment.Segmenter(tmp_path)
    (tmp_path / "encoder.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"encoder.onnx cannot be opened by ONNX Runtime"):
        segment.Segmenter(tmp_path)


@pytest.mark.parametrize("target", ["python", "cvat"])
def test_another_segment_py_in_the_folder_is_refused_and_never_executed(target, tmp_path):
    trace = tmp_path / "executed"
    changed = SEGMENT_FILE.read_text() + f"\nPath({str(trace)!r}).touch()\n"
    (tmp_path / "segment.py").write_text(changed)
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="segment.py is not the file that this version ships.*export the model again"):
        find_target(target).open(tmp_path, image_size=64, precision="fp32")
    assert not trace.exists()
    (tmp_path / "segment.py").unlink()
    with pytest.raises(InputError, match="segment.py does not exist; export the model again"):
        find_target(target).open(tmp_path, image_size=64, precision="fp32")


@pytest.mark.parametrize("target", ["python", "cvat"])
def test_a_folder_is_opened_by_one_session_for_each_model(segment, target, tmp_path, monkeypatch):
    opened = []
    given = SimpleNamespace(shape=[1, 3, 64, 64], name="image")
    session = SimpleNamespace(get_inputs=lambda: [given])
    monkeypatch.setattr(SESSIONS, lambda path, *, threads: opened.append((path.name, threads)) or session)
    monkeypatch.setattr(segment.onnxruntime, "InferenceSession", None)  # none besides
    (tmp_path / "segment.py").write_bytes(SEGMENT_FILE.read_bytes())
    find_target(target).open(tmp_path, image_size=64, precision="fp32", threads=3)
    assert sorted(opened) == [("decoder.onnx", 3), ("encoder.onnx", 3)]


@pytest.mark.parametrize("given", ["no photo", "a text", "no model"])
def test_the_command_line_says_what_is_missing_in_one_line(segment, given, tmp_path, monkeypatch, capsys):
    photo = tmp_path / "photo.png"
    if given == "a text":
        photo.write_text("no photo")
    elif given == "no model":
        Image.new("RGB", (8, 8)).save(photo)
    if given != "no model":
        given_input = SimpleNamespace(shape=[1, 3, 64, 64], name="image")
        monkeypatch.setattr(segment.Segmenter, "_open", lambda self, name: SimpleNamespace(get_inputs=lambda: [given_input]))
    with pytest.raises(SystemExit) as caught:
        segment.main([str(photo), "--point", "3", "4", "--models", str(tmp_path)])
    assert caught.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in message and ("encoder.onnx is missing" if given == "no model" else "photo.png") in message


def test_it_imports_its_three_packages_and_the_standard_library_alone():
    nodes = list(ast.walk(ast.parse(SEGMENT_FILE.read_text())))
    found = {name.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    found |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert found - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "PIL"}
    assert [line.partition(">=")[0] for line in REQUIREMENTS.split()] == ["numpy", "onnxruntime", "pillow"]


@pytest.mark.slow  # a new environment, three packages from the index: about a minute
def test_the_copied_folder_works_in_an_environment_of_its_own(written, demo, photos, ours, tmp_path):
    folder = written("python", demo)
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "-r", folder / "requirements.txt"]
    installed = subprocess.run(pip, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"the three packages cannot be installed here: {installed.stderr[-300:]}")
    for name, sample in photos.items():
        Image.fromarray(sample.image).save(tmp_path / f"{name}.png")
        box = [str(value) for value in sample.boxes[0]]
        call = [python, folder / "segment.py", tmp_path / f"{name}.png", "--box", *box, "--out", tmp_path / "mask.png"]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        assert "predicted IoU" in done.stdout
        mask = np.asarray(Image.open(tmp_path / "mask.png")) > 0
        assert mask_iou(mask, our_box_mask(demo, sample)) >= 0.999


def our_box_mask(sam, sample):
    from encoders.predictor import Predictor

    predictor = Predictor(sam)
    predictor.set_image(sample.image)
    return predictor.predict(Prompts(boxes=np.asarray(sample.boxes[:1], float)), multimask=False).masks[0, 0]
