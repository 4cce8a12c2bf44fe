"""Precomputing teacher embeddings, shared by any number of processes."""
