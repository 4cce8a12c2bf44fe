"""The one sample type, and photos, masks and annotations in files."""
