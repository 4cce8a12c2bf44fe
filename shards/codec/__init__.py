"""Codecs for stored embeddings, and their measured fidelity."""
