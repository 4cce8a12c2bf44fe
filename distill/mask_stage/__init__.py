"""The mask stage: training a SAM on photos with masks, with prompts in the loop."""
