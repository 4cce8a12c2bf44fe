"""Weights from files and into them, with their checks and tables of names."""
