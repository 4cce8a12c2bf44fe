"""Average precision, by the original packages and in numpy."""
