"""The shipped photos with masks: `sample:train` and `sample:val` wherever a data set is named."""

from pathlib import Path

from encoders.errors import InputError

SAMPLE = Path(__file__).resolve().parents[1] / "sample"
SPLITS = ("train", "val")


def resolve_data(spec: str) -> Path:
    """Return a data set's path; `sample:train` and `sample:val` mean the shipped photos."""
    scheme, separator, split = spec.partition(":")
    if not separator or scheme != "sample":
        return Path(spec)
    if split not in SPLITS:
        raise InputError(f"{spec} is not a shipped sample; expected sample:train or sample:val")
    return SAMPLE / split / "instances.json"
