"""Lazy imports of a package's exported names (PEP 562).

`import torch` takes seconds, and most of what a package offers needs it; a command that only prints help does not.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_exports(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package's `__init__`.

    No room of the package may have the name of something that it exports, which it would hide once it is imported.

    Args:
        package: `__name__` of the package.
        names: file of the package, dotted and without `.py` -> what the package exports of it.
    """
    module = sys.modules[package]
    homes = {name: file for file, exported in names.items() for name in exported}
    rooms = {file.partition(".")[0] for file in names}

    def get(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
            setattr(module, name, value)
            return value
        if name in rooms:  # `import encoders` is enough for `encoders.registry` too
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted({*vars(module), *homes})

    return get, listed
