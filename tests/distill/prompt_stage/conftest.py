"""Fixtures of the prompt stage."""

from tests.distill.prompt_stage.fixtures import annotated_cache, prompt_settings

__all__ = ["annotated_cache", "prompt_settings"]
