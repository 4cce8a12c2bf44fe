"""Timing of subjects in processes of their own."""
