"""A cache on a real S3 server: failing uploads, verification, repair."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from encoders.errors import InputError
from shards import clear_damaged, open_source
from shards.cache.identity import CacheIdentity
from shards.pipeline.object_stores.mirror import ENTRIES
from shards.sources.tar_index import Listing
from shards.stores.base import StoreFailure
from shards.stores.objects import open_objects
from shards.verification.verify import verify
from tests.shards.helpers import standin
from tests.shards.helpers.photos import pair, write_tar
from tests.shards.helpers.s3_server import s3_server
from tests.shards.stores.test_store_precompute import content, stored

pytestmark = pytest.mark.slow  # the server takes a few seconds to start


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _new_clients(bucket) -> Iterator[None]:
    """Clients keep the methods that they were made with."""
    yield
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def calm(tmp_path, photo_folder):
    photos = photo_folder(12)
    (photos / "p011.jpg").write_bytes(b"junk")
    standin.run(photos, tmp_path / "calm", max_bad_fraction=0.2)
    return photos, content(tmp_path / "calm")


def test_twenty_failures_on_s3_leave_no_trace(bucket, tmp_path, calm, monkeypatch):
    import s3fs

    photos, expected = calm
    url, hit, calls = f"{bucket}/failing", [], []
    put, pipe, cat = (getattr(s3fs.S3FileSystem, name) for name in ("_put_file", "_pipe_file", "_cat_file"))

    def fault(operation: str) -> str | None:
        calls.append(operation)
        if len(hit) == 20 or len(calls) % 2:
            return None
        hit.append(f"{operation} {['fail', 'cut', 'late'][len(hit) % 3]}")
        return hit[-1].split()[1]

    async def bad_put(self, lpath, rpath, **options):
        kind = fault("put")
        if kind == "fail":
            raise OSError("503 Slow Down")
        if kind == "cut":
            half = tmp_path / "half"
            half.write_bytes(Path(lpath).read_bytes()[:3000])
            lpath = half
        await put(self, str(lpath), rpath, **options)
        if kind == "late":
            raise ConnectionError("the answer was lost")

    async def bad_pipe(self, path, data, **options):
        kind = fault("write")
        if kind == "fail":
            raise OSError("503 Slow Down")
        await pipe(self, path, data[: len(data) // 2] if kind == "cut" else data, **options)
        if kind == "late":
            raise ConnectionError("the answer was lost")

    async def bad_cat(self, path, **options):
        if fault("read"):
            raise ConnectionError("the connection was reset")
        return await cat(self, path, **options)

    s3fs.S3FileSystem.clear_instance_cache()
    for name, bad in (("_put_file", bad_put), ("_pipe_file", bad_pipe), ("_cat_file", bad_cat)):
        monkeypatch.setattr(s3fs.S3FileSystem, name, bad)
    for attempt in range(10):
        try:
            made = standin.run(photos, url, scratch=tmp_path / f"scratch{attempt}", max_bad_fraction=0.2)
            break
        except InputError as error:
            print(f"attempt {attempt}: {error}")
    print(f"{len(hit)} failures in {len(calls)} calls: {', '.join(hit)}")
    report = verify(url)
    print(f"cache verify: {report.shards} shards, {report.photos} photos, {len(report.problems)} problems")
    assert len(hit) == 20 and made.complete and stored(url) == expected and report.problems == []


def test_damage_on_s3_is_found_and_the_same_command_mends_it(bucket, tmp_path, calm):
    photos, expected = calm
    url = f"{bucket}/damaged"
    standin.run(photos, url, scratch=tmp_path / "scratch", max_bad_fraction=0.2)
    store = open_objects(url)
    damaged = bytearray(expected["train-000001.tar"])
    damaged[len(damaged) // 2] ^= 1
    store.put("train-000001.tar", bytes(damaged))
    store.delete(["train-000002.tar"])
    report = verify(url)
    assert report.damaged == ["train-000001.tar", "train-000002.tar"]
    assert store.list(ENTRIES) == {}
    wanted = CacheIdentity.read(tmp_path / "calm")
    clear_damaged(report, wanted=wanted)
    assert set(store.list()) & set(expected) == set(expected) - set(report.damaged)
    made = standin.run(photos, url, scratch=tmp_path / "other", max_bad_fraction=0.2)
    assert made.complete and made.shards_made == 2 and stored(url) == expected and verify(url).problems == []


def test_tars_on_s3_make_the_same_cache_also_when_listed_by_forked_processes(bucket, tmp_path):
    folder = tmp_path / "sa1b"
    folder.mkdir()
    for tar in range(4):
        write_tar(folder / f"sa_{tar}.tar", [member for number in range(3 * tar, 3 * tar + 3) for member in pair(number)])
    store = open_objects(f"{bucket}/sa1b")
    for path in folder.iterdir():
        store.upload(path.name, path)
    listing = Listing(folder=tmp_path / "index", processes=2)
    remote = open_source(f"{bucket}/sa1b/sa_*.tar", listing=listing)
    assert remote.identity() == open_source(folder).identity() and len(list((tmp_path / "index").iterdir())) == 4
    standin.run(folder, tmp_path / "local")
    standin.run(f"{bucket}/sa1b", f"{bucket}/of_tars", scratch=tmp_path / "scratch")
    assert stored(f"{bucket}/of_tars") == content(tmp_path / "local")


def test_an_upload_in_parts_is_compared_by_its_etag(bucket, tmp_path, monkeypatch):
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * (105 * 2**12))  # 105 MiB: three parts of 50 MiB at most
    store = open_objects(bucket)
    monkeypatch.setattr("shards.stores.objects.sha256_of", lambda file: pytest.fail("it was read back"))
    assert store.upload("big", big)
    with pytest.raises(StoreFailure, match="s3://nowhere/x cannot be written.*see that the bucket exists"):
        open_objects("s3://nowhere").upload("x", big)
