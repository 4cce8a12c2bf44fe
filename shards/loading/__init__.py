"""Batches of a cache for training."""
