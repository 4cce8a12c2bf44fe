"""The package versions and the machine that a certificate records."""

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = (
    "repvit-sam", "torch", "timm", "numpy", "segment-anything", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf",
    "coremltools", "coreai-core", "coreai-torch", "executorch", "litert-torch", "ai-edge-litert",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of each installed package that an export may use, by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def host_facts() -> dict[str, str | int | float]:
    """Return the operating system, architecture, number of usable cores and, on Linux, the processor's model.

    Nothing that identifies a user or a host is recorded.
    """
    facts: dict[str, str | int | float] = {"system": platform.system(), "machine": platform.machine()}
    facts["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        facts |= {"processor": lines[0].split(":", 1)[1].strip()} if lines else {}
    return facts
