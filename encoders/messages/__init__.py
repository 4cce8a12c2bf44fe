"""Text helpers for messages."""
