"""Suites that take a detector's boxes as prompts and measure AP."""
