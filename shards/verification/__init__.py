"""Whether a cache is what it says it is; repair and statistics."""
