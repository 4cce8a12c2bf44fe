"""Versions of installed packages."""

import importlib.metadata

DISTRIBUTION = "repvit-sam"
REPORTED = ("torch", "torchvision", "timm", "deepspeed", "segment-anything", "webdataset", DISTRIBUTION)


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def reported_versions() -> dict[str, str | None]:
    """Return the versions that a run records and `doctor` shows."""
    return {name: installed_version(name) for name in REPORTED}
