"""Packages that import a file of theirs only when one of its names is asked for (PEP 562).

`import torch` takes seconds, and most of what a package offers needs it; a command that only prints help does not.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package whose exported names are not hidden by files of the same name.

    Python sets a file as an attribute of its package whenever it is imported, by whomever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self.__dict__["__all__"]):
            super().__setattr__(name, value)


def lazy_exports(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package's `__init__`, which defines `__all__` before it calls this.

    Args:
        package: `__name__` of the package.
        names: file of the package, dotted and without `.py` -> what the package exports of it.
    """
    module = sys.modules[package]
    module.__class__ = LazyPackage
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
