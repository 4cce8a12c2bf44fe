"""Verification, repair and statistics of caches."""
