"""segment-anything's mask decoder, batched and without autograd."""
