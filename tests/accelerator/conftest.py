"""Fixtures of the tests on a pretended GPU."""

from tests.distill.prompt_stage.fixtures import annotated_cache

__all__ = ["annotated_cache"]
