"""The mask stage: a SAM in training from photos with masks, prompts in the loop."""
