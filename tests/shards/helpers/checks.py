"""What tests ask of a cache."""

import shards
from encoders.samples.rle import decode_segmentation
from shards.cache.shard_reader import ShardReader


def cached_names(manifest: shards.Manifest) -> set[str]:
    """Names of the photos in a cache; each is whole, and its masks have its size."""
    names = set()
    reader = ShardReader(manifest)
    for shard, entry in enumerate(manifest.entries):
        for place in range(len(entry.keys)):
            sample = reader.read(shard, place)
            facts = sample.json()
            names.add(facts["meta"]["file_name"])
            assert sample.pixels().shape == (facts["stored_height"], facts["stored_width"], 3)
            shape = (facts["height"], facts["width"])
            for annotation in facts["annotations"]:
                assert decode_segmentation(annotation["segmentation"], shape=shape).shape == shape
    return names
