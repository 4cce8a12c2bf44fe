"""The sample type, and reading and writing of photos, masks and annotations."""
