"""What answers prompts: models of ours and of others, baselines, references."""
