"""Launching and stopping groups of processes, and determining ranks."""
