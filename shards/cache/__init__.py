"""The files of a cache: shards, manifest, identity; on a disk or at a URL."""
