"""Facts about this machine that do not need torch: GPUs, versions and missing packages."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from distill.versions import DISTRIBUTION, installed_version, reported_versions
from encoders.model_names import SHIPPED_WEIGHTS

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
FOR_DEVELOPERS = ("dev", "docs")  # extras that users do not need


def machine_facts() -> dict[str, Any]:
    """Return versions, GPUs and missing packages as JSON types. Imports and starts nothing that could fail."""
    return {
        "python": platform.python_version(),
        "versions": {name: version or "not installed" for name, version in reported_versions().items()},
        "cpu cores": os.cpu_count(),
        "gpus": gpu_names() or "none that nvidia-smi shows",
        "shipped weights": {name: "there" if path.is_file() else "missing" for name, path in SHIPPED_WEIGHTS.items()},
        "missing": {f"pip install '{DISTRIBUTION}[{extra}]'": names for extra, names in missing_extras().items()},
    }


def gpu_names() -> list[str]:
    """Return the names of NVIDIA GPUs; empty if the driver's `nvidia-smi` is absent or fails."""
    if shutil.which(NVIDIA_SMI[0]) is None:
        return []
    try:
        done = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def missing_extras() -> dict[str, list[str]]:
    """Map each extra to the packages that installing it would add on this machine, according to the package metadata.

    Extras whose packages are all installed, or not meant for this Python or system, are left out. A package that is
    installed but too old is listed with its requirement.
    """
    missing: dict[str, list[str]] = {}
    for extra, requirement in extra_requirements():
        version = installed_version(requirement.name)
        if version is None:
            missing.setdefault(extra, []).append(requirement.name)
        elif not requirement.specifier.contains(version, prereleases=True):
            missing.setdefault(extra, []).append(f"{requirement.name} {requirement.specifier} (here: {version})")
    return missing


def extra_requirements() -> list[tuple[str, Requirement]]:
    """Yield (extra, requirement) of all extras but the developers', for this Python and system."""
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return []
    extras = [extra for extra in metadata.get_all("Provides-Extra") or [] if extra not in FOR_DEVELOPERS]
    found = []
    for line in metadata.get_all("Requires-Dist") or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            continue  # comes without an extra
        found += [(extra, requirement) for extra in extras if requirement.marker.evaluate({"extra": extra})]
    return found
