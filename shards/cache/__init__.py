"""Files of an embedding cache (shards, manifest, identity), stored in a local folder or at a URL."""
