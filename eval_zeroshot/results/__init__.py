"""What was seen and measured, in files: observations, results, intervals."""
