"""The training data loader: batches of samples from an embedding cache."""
