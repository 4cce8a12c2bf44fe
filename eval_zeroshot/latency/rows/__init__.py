"""Rows of latencies, of this machine, of a Mac, of Xcode, and as published."""
