"""Precompute: the teacher's pass over a source, shared by any number of processes."""
