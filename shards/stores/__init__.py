"""Places where files of a cache or photos lie: folders, and object stores by fsspec."""
