"""Checkpoints of a run: written atomically, verified before use, and restored."""
