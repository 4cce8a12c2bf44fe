"""Data sets for evaluation, one file each."""
