"""Versions of what is installed."""

import importlib.metadata

DISTRIBUTION = "repvit-sam"
REPORTED = ("torch", "torchvision", "timm", "deepspeed", "segment-anything", "webdataset", DISTRIBUTION)


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, None where it is not."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def reported_versions() -> dict[str, str | None]:
    """Versions that a run records and `doctor` shows."""
    return {name: installed_version(name) for name in REPORTED}
