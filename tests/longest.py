"""Which test files take longest: they start first, so that no worker is left alone with one at the end."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONGEST = (  # more than about ten seconds of one core; files that export the same decoder stand apart
    "distill/cli/test_distill_command.py",
    "distill/cli/test_export_command.py",
    "encoders/export/test_openvino.py",
    "encoders/export/test_job.py",
    "encoders/export/test_coreml.py",
    "encoders/export/test_exportable.py",
    "encoders/export/test_fusion_check.py",
    "encoders/export/test_classifier.py",
    "distill/cli/test_eval_in_processes.py",
    "distill/cli/test_precompute_command.py",
    "distill/cli/test_verify_command.py",
    "distill/test_ending_and_extending.py",
    "shards/pipeline/test_precompute_sharing.py",
    "distill/cli/test_latency_command.py",
    "test_packaging.py",
    "accelerator/test_suites.py",
)


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests in place: the longest files first, the order otherwise kept."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
