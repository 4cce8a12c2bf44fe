"""Exported folders: what a call includes."""

from types import SimpleNamespace

import numpy as np
import pytest

from encoders.export.targets.tool_runtime import PhotoToolRuntime, ToolRuntime
from eval_zeroshot.latency.subjects.opening import NotRunHere, of_runtime
from eval_zeroshot.latency.subjects.subject import ModelFacts


def runtime(kind, *, how="executed"):
    """A tool's runtime without its files."""
    made = type("Made", (kind,), {"__init__": lambda self: None, "encode": lambda self, image: np.zeros(1)})()
    made.name, made.how, made.precision = "a runtime", how, "fp32"
    made._encoder = SimpleNamespace(get_session_options=lambda: SimpleNamespace(intra_op_num_threads=1))
    return made


@pytest.mark.parametrize(
    ("kind", "part", "is_noted"),
    [(PhotoToolRuntime, "encoder", True), (PhotoToolRuntime, "decoder", False), (ToolRuntime, "encoder", False)],
)
def test_the_conversion_to_a_photo_is_noted(spec, kind, part, is_noted):
    facts = ModelFacts(name="x", exported="onnx", tool="x-anylabeling")
    asked = spec("x", part=part, image_size=64)
    found = of_runtime(type(asked)(**(vars(asked) | {"facts": facts})), runtime(kind))
    assert found.note == ("includes conversion of the photo by this project's harness" if is_noted else None)
    assert found.threads == 1


def test_what_is_interpreted_is_not_timed(spec):
    with pytest.raises(NotRunHere, match="is interpreted here, which says nothing about the runtime's own speed"):
        of_runtime(spec("x"), runtime(ToolRuntime, how="interpreted"))
