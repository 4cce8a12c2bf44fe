"""Precompute into an object store: a scratch folder stands for the cache, and shards are published from it."""
