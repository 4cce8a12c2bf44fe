"""The certificate of an export: the prompts, the comparison with PyTorch, and the limits."""
