"""A checksum of a model's tensors that does not depend on the file they were loaded from."""

from torch import nn

from encoders.weights.checks import tensors_digest


def weights_checksum(*modules: nn.Module) -> str:
    """Return the sha256, in hex, of the names, shapes, dtypes and stored bytes of all parameters and buffers of the modules."""
    return tensors_digest(*(module.state_dict() for module in modules))
