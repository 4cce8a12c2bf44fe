"""Subjects: names, runtimes, parts, and the groups that are loaded together."""

from types import SimpleNamespace

import pytest

from encoders.errors import InputError
from eval_zeroshot.latency.planning import blocks
from eval_zeroshot.latency.subjects import subject as subjects
from eval_zeroshot.latency.subjects.subject import (
    ModelFacts,
    check_baseline,
    check_parts,
    check_runtimes,
    name_models,
    parts_of,
    runtimes_of,
)


def test_models_are_called_as_they_are_given():
    models = name_models(["ours=runs/my_run", "runs/other", "sam_demo"], ["tiny_vit"])
    assert [(model.name, model.source, model.arch) for model in models] == [
        ("ours", "runs/my_run", None), ("other", "runs/other", None), ("sam_demo", "sam_demo", None),
        ("tiny_vit", None, "tiny_vit"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("models", "untrained", "message"),
    [
        ([], [], "nothing to time"),
        (["a=x", "a=y"], [], "two models are called 'a'"),
        (["a=my_model:build"], [], "-m a=my_model:build: only this project's models .* are taken by eval and masks"),
        (["edge_sam:w.pth"], [], "-m edge_sam:w.pth: only this project's models .* are taken by eval and masks"),
        (["=x"], [], "expected MODEL or NAME=MODEL"),
        ([], ["repvit_m0_8"], "did you mean repvit_m0_"),
    ],
)
def test_models_that_are_refused(models, untrained, message):
    with pytest.raises(InputError, match=message):
        name_models(models, untrained)


def test_near_misses_of_runtimes_and_parts_are_named():
    with pytest.raises(InputError, match="did you mean torch_fused"):
        check_runtimes(["torch", "torch_fusd"])
    with pytest.raises(InputError, match="did you mean decoder"):
        check_parts(["decode"])
    with pytest.raises(InputError, match="--baseline 'tinyvit' is not among.*did you mean tiny_vit"):
        check_baseline("tinyvit", [ModelFacts(name="tiny_vit")])


def test_each_runtime_and_part_is_asked_once_and_parts_in_their_order():
    assert check_runtimes(["torch", "openvino", "torch"]) == ["torch", "openvino"]
    assert check_parts(["decoder", "encoder", "decoder"]) == ["encoder", "decoder"]


def test_a_path_that_exists_may_have_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "lr=0.1" / "best").mkdir(parents=True)
    (one, two) = name_models(["runs/lr=0.1/best", "ours=runs/lr=0.1/best"], [])
    assert (one.name, one.source) == ("best", "runs/lr=0.1/best")
    assert (two.name, two.source) == ("ours", "runs/lr=0.1/best")


def test_a_folder_that_is_one_graph_is_refused(tmp_path, monkeypatch):
    certificate = SimpleNamespace(format="coreai", target="apple-segmenter", model=SimpleNamespace(arch="sam_demo"))
    monkeypatch.setattr(subjects, "is_export", lambda folder: True)
    monkeypatch.setattr(subjects, "read_certificate", lambda folder: certificate)
    with pytest.raises(InputError, match="apple-segmenter: encoder and decoder are one graph"):
        name_models([str(tmp_path)], [])
    certificate.target = "osam"
    (model,) = name_models([str(tmp_path)], [])
    assert (model.exported, model.tool) == ("coreai", "osam")


def test_an_exported_folder_is_timed_in_its_own_runtime():
    assert runtimes_of(ModelFacts(name="x", exported="onnx"), ["torch", "openvino"]) == ["onnxruntime"]
    assert runtimes_of(ModelFacts(name="x", exported="litert"), ["torch"]) == ["litert"]
    assert runtimes_of(ModelFacts(name="x"), ["torch", "openvino"]) == ["torch", "openvino"]


def test_the_decoder_is_not_timed_again_where_only_the_encoder_differs():
    assert parts_of("torch_fused", ["encoder", "decoder"]) == ["encoder"]
    assert parts_of("torch_compiled", ["encoder", "decoder"]) == ["encoder", "decoder"]


def test_models_of_one_runtime_stay_together_and_parts_and_threads_apart(spec):
    specs = [
        spec(model, runtime=runtime, threads=threads)
        for runtime in ("torch", "openvino", "onnxruntime")
        for model in ("a", "b")
        for threads in (1, 2)
    ]
    found = [[(one.model, one.runtime, one.threads) for one in block] for block in blocks(specs, at_once=4)]
    assert found == [
        [("a", "torch", 1), ("b", "torch", 1), ("a", "openvino", 1), ("b", "openvino", 1)],
        [("a", "onnxruntime", 1), ("b", "onnxruntime", 1)],
        [("a", "torch", 2), ("b", "torch", 2), ("a", "openvino", 2), ("b", "openvino", 2)],
        [("a", "onnxruntime", 2), ("b", "onnxruntime", 2)],
    ]
    assert len(list(blocks(specs, at_once=1))) == 6  # a runtime is never split
