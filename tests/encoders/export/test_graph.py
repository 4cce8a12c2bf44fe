"""What no exporter can take is refused by every format in the same way."""

import pytest
import torch
from torch import nn

from encoders.errors import InputError
from encoders.export.graph import trace


class Branch(nn.Module):
    def forward(self, image):
        return image if image.sum() > 0 else -image


def test_a_module_that_branches_on_values_is_refused():
    with pytest.raises(InputError, match="cannot be exported as a graph.*without branches on values"):
        trace(Branch().eval(), (torch.zeros(1, 4),))


def test_onnx_names_what_it_does_not_know(tmp_path):
    pytest.importorskip("onnxscript")
    from encoders.export.formats.onnx import write_onnx

    class Unusual(nn.Module):
        def forward(self, image):
            return torch.special.bessel_j1(image)

    for module, said in ((Unusual(), "has no operation 'prims.bessel_j1'"), (Branch(), "cannot be written as ONNX")):
        with pytest.raises(InputError, match=said):
            write_onnx(module.eval(), tmp_path / "x.onnx", example=(torch.ones(2),), inputs=("x",), outputs=("y",))
    assert not list(tmp_path.iterdir())
