"""Reading, writing and validating weights, and key maps to other projects' names."""
