"""The folder of the shipped configs; separate from `distill.config.runs` so that listing them does not import pydantic."""

from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[2] / "configs"  # data-only package beside this one
