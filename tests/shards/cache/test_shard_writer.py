"""Shards are written by ourselves and have the bytes of webdataset's TarWriter, also for long and foreign names."""

import hashlib
import tarfile

from webdataset.writer import TarWriter

from shards.cache.shard_writer import ShardFile

SAMPLES = {
    "sa_1": (b"jpeg", b"e" * 1000, b"{}"),
    "größe/" + "n" * 120: (b"j" * 512, b"", b'{"a":1}'),
    "last": (b"j" * 30_000, b"e" * 511, b"f" * 513),
}


def test_a_shard_has_the_bytes_of_webdatasets_writer(tmp_path):
    shard = ShardFile(tmp_path / "train-000000.tar")
    for key, (jpeg, embedding, facts) in SAMPLES.items():
        shard.add(key, jpeg=jpeg, embedding=embedding, facts=facts)
    size, sha256 = shard.finish()
    with (tmp_path / "theirs.tar").open("wb") as file:
        theirs = TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False)
        for key, (jpeg, embedding, facts) in SAMPLES.items():
            theirs.write({"__key__": key, "jpg": jpeg, "emb": embedding, "json": facts})
        theirs.close()
    content = shard.temporary.read_bytes()
    assert content == (tmp_path / "theirs.tar").read_bytes()
    assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())
    with tarfile.open(shard.temporary) as tar:
        assert tar.getnames() == [f"{key}.{suffix}" for key in SAMPLES for suffix in ("emb", "jpg", "json")]


def test_what_is_abandoned_writes_nothing_more(tmp_path):
    shard = ShardFile(tmp_path / "train-000000.tar")
    shard.add("a", jpeg=b"j", embedding=b"e", facts=b"{}")
    shard.abandon()
    del shard
    assert not list(tmp_path.iterdir())
