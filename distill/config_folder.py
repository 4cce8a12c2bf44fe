"""Where the shipped configs lie; apart from `distill.config`, so that listing them does not load pydantic."""

from pathlib import Path

CONFIGS = Path(__file__).resolve().parent.parent / "configs"  # data-only package beside this one
