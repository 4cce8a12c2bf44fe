"""Tables that are shipped with this package."""

from importlib.resources import as_file, files
from typing import Any

from encoders.untrusted import read_yaml


def shipped_yaml(name: str) -> Any:
    """The value in a YAML file of `data/`."""
    with as_file(files("eval_zeroshot").joinpath(f"data/{name}")) as path:
        return read_yaml(path)
