"""A page for each package: its public names, for mkdocstrings to fill with signatures and docstrings."""

import importlib

PACKAGES = ("encoders", "shards", "eval_zeroshot")


def api_page(package: str) -> str:
    """The names of the package's `__all__`."""
    module = importlib.import_module(package)
    head = f"# {package}\n\n{(module.__doc__ or '').strip()}\n\nThe public names of `import {package}`.\n"
    return "\n".join([head, *(f"::: {package}.{name}\n" for name in module.__all__)])
