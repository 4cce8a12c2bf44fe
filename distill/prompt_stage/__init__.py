"""The prompt stage: a student learns the masks of its teacher from the cached embeddings, with prompts in the loop."""
