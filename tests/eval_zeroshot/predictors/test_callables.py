"""Models of the user's own, MODULE:CALLABLE: what is measured, and what is said where it cannot be."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from encoders.errors import InputError, InputWarning
from encoders.prompts import Prompts
from eval_zeroshot.predictors.adapters import SamPredictorAdapter, is_adapter, is_callable, open_adapter

GOOD = """
import numpy as np
class Good:
    weights_sha256 = "a" * 64
    def set_image(self, image): self.shape = image.shape[:2]
    def predict(self, point_coords=None, point_labels=None, box=None, multimask_output=True):
        count = 3 if multimask_output else 1
        return np.ones((count, *self.shape), bool), np.ones(count), np.zeros((count, 1, 1))
def build(): return Good()
def wants(path): return Good()
def fails(): raise RuntimeError("no GPU")
def bare(): return object()
def nothing(): return None
def other_names():
    class Other(Good):
        def predict(self, points, boxes): pass
    return Other()
def odd_checksum():
    good = Good(); good.weights_sha256 = "abc"; return good
def odd_size():
    good = Good(); good.image_size = "256"; return good
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a module `own_model` in it."""
    (tmp_path / "own_model.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part not in ("", ".")])
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    yield tmp_path
    for name in ("own_model", "broken_model"):
        sys.modules.pop(name, None)


def test_a_module_of_the_working_directory_answers(folder):
    adapter = open_adapter("own_model:build")
    assert adapter.identity == "own_model:build:" + "a" * 64
    adapter.set_image(np.zeros((6, 9, 3), np.uint8))
    answer = adapter.predict(Prompts(boxes=np.asarray([[1, 1, 4, 4], [0, 0, 2, 2.0]])), multimask=True)
    assert answer.masks.shape == (2, 3, 6, 9) and answer.scores.shape == (2, 3)
    with pytest.raises(InputError, match="Good takes no mask of an earlier round"):
        adapter.predict(Prompts(boxes=np.zeros((1, 4)), masks=np.zeros((1, 1, 4, 4))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("own_modle:build", "there is no module 'own_modle'"),
        ("own_model.deeper:build", "there is no module 'own_model.deeper'|not a package"),
        ("own_model:biuld", "own_model has no 'biuld'; did you mean build"),
        ("own_model:number", "number is an int, which cannot be called"),
        ("own_model:wants", r"needs arguments \(path\), but gets none"),
        ("own_model:fails", r"own_model:fails failed: RuntimeError: no GPU \(.*own_model.py, line 11\)"),
        ("own_model:bare", "returned an object without set_image and predict"),
        ("own_model:nothing", "returned None without set_image and predict"),
        ("own_model:other_names", "its predict takes points, boxes, but not point_coords, point_labels, box, multimask_output"),
        ("own_model:odd_checksum", "weights_sha256 is 'abc'; expected 64 hex digits"),
        ("own_model:odd_size", "image_size is '256'"),
        ("edgesam:weights", "there is no module 'edgesam'.*did you mean edge_sam"),
    ],
)
def test_what_cannot_be_used_is_said(folder, text, said):
    with pytest.raises(InputError, match=said):
        open_adapter(text)


def test_a_module_that_does_not_import_says_why(folder):
    (folder / "broken_model.py").write_text("import no_such_package_here\n")
    with pytest.raises(InputError, match="broken_model cannot be imported, it needs no_such_package_here"):
        open_adapter("broken_model:build")
    (folder / "broken_model.py").write_text("x = 1 / 0\n")
    with pytest.raises(InputError, match=r"cannot be imported: ZeroDivisionError: .*broken_model.py, line 1"):
        open_adapter("broken_model:build")
    (folder / "broken_model.py").write_text("def build(:\n")
    with pytest.raises(InputError, match="cannot be imported: SyntaxError"):
        open_adapter("broken_model:build")


def test_without_a_checksum_a_note_says_what_follows(folder):
    text = GOOD.replace('    weights_sha256 = "a" * 64\n', "")
    (folder / "own_model.py").write_text(text)
    with pytest.warns(InputWarning, match="no attribute weights_sha256"):
        assert open_adapter("own_model:build").identity == "own_model:build"


def test_names_of_families_files_and_runs_are_no_modules():
    assert is_callable("my.package:build") and is_adapter("my.package:build")
    assert not any(map(is_callable, ["edge_sam:weights", "edgesam:w.pth", "runs/ours", "sam_demo", "C:\\weights.pt", "a:b:c"]))
    with pytest.raises(InputError, match="edge_sam:WEIGHTS.*or MODULE:CALLABLE of your own"):
        open_adapter("edgesam:w.pth")


class Answers:
    """Answers what it was made with."""

    def __init__(self, *answer):
        self.answer = answer

    def set_image(self, image):
        pass

    def predict(self, point_coords=None, point_labels=None, box=None, multimask_output=True):
        return self.answer


class AnswersMany(Answers):
    """The same for several prompts at a time."""

    transform = SimpleNamespace(apply_boxes=lambda boxes, shape: boxes)
    device = "cpu"

    def predict_torch(self, point_coords, point_labels, boxes, mask_input=None, multimask_output=True):
        return self.answer


def asked(*answer, kind=Answers):
    adapter = SamPredictorAdapter(kind(*answer), identity="x")
    adapter.set_image(np.zeros((6, 9, 3), np.uint8))
    return adapter.predict(Prompts(boxes=np.asarray([[1, 1, 4, 4.0]])), multimask=False)


def test_tensors_and_masks_of_zeros_and_ones_are_understood():
    answer = asked(torch.ones(1, 6, 9, requires_grad=True), torch.ones(1), torch.zeros(1, 4, 4))
    assert answer.masks.dtype == bool and answer.masks.all() and answer.logits.shape == (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([np.zeros((1, 6, 9)), np.ones(1)], "2 values; expected three"),
        ([np.full((1, 6, 9), -3.5), np.ones(1), np.zeros((1, 4, 4))], "masks of float64, not only 0 and 1; expected bool"),
        ([np.zeros((1, 6, 9), bool), np.ones(1), np.zeros((1, 4, 6))], re.escape("logits (1, 4, 6); expected (1, s, s)")),
        ([np.zeros((1, 9, 6), bool), np.ones(1), np.zeros((1, 4, 4))], re.escape("masks (1, 9, 6) and scores (1,); expected")),
        ([np.zeros((3, 6, 9), bool), np.ones(3), np.zeros((3, 4, 4))], re.escape("masks (3, 6, 9) and scores (3,); expected")),
        ([None, np.ones(1), np.zeros((1, 4, 4))], "no arrays of numbers .one has the type object.; expected arrays"),
        ([[[1], [1, 0]], np.ones(1), np.zeros((1, 4, 4))], "no arrays of numbers"),
    ],
)
def test_answers_that_would_be_misread_are_refused(answer, said):
    with pytest.raises(InputError, match=f"^Answers.predict answered .*{said}"):
        asked(*answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([torch.zeros(1, 1, 6, 9), torch.ones(1, 1)], "2 values; expected three: masks .P, M, H, W."),
        ([torch.full((1, 1, 6, 9), -3.5), torch.ones(1, 1), torch.zeros(1, 1, 4, 4)], "masks of float32, not only 0 and 1"),
        ([torch.zeros(1, 6, 9), torch.ones(1, 1), torch.zeros(1, 1, 4, 4)], re.escape("expected (1, 1, 6, 9) and (1, 1)")),
        ([torch.zeros(1, 1, 6, 9), torch.ones(1, 1), torch.zeros(1, 1, 4)], re.escape("(1, 1, s, s)")),
    ],
)
def test_answers_to_several_prompts_are_checked_too(answer, said):
    with pytest.raises(InputError, match=f"^AnswersMany.predict_torch answered .*{said}"):
        asked(*answer, kind=AnswersMany)
