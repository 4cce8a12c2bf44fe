"""Embeddings to bytes and back, and what that costs."""
