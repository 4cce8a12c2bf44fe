"""One file at a time in an object store and in a folder: the same promises."""

import base64
import hashlib
import pickle

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from encoders.errors import InputError
from shards.stores.base import StoreFailure
from shards.stores.checksums import PART_BYTES, vouched
from shards.stores.messages import without_credentials
from shards.stores.objects import FsspecObjects, open_objects
from tests.shards.helpers.faulty_store import FaultyFileSystem


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_objects("memory://bucket/place" if request.param == "memory" else f"file://{tmp_path}/place")


def test_files_are_written_listed_read_and_removed(store, tmp_path):
    assert store.size("a.json") is None and store.read("a.json", max_bytes=9) is None and store.list() == {}
    store.put("a.json", b"one")
    store.put("work/shards/b.json", b"two")
    (tmp_path / "big").write_bytes(b"0123456789")
    assert store.upload("c.tar", tmp_path / "big")
    assert store.list() == {"a.json": 3, "c.tar": 10} and store.list("work/shards") == {"work/shards/b.json": 3}
    assert store.list_all() == {"a.json": 3, "c.tar": 10, "work/shards/b.json": 3}
    assert store.read_range("c.tar", start=8, size=5) == b"89" and store.facts("c.tar")[0] == 10
    with store.open("c.tar") as file:
        file.seek(3)
        assert file.read(2) == b"34" and file.tell() == 5
    with pytest.raises(InputError, match="a.json has 3 bytes; at most 2 are read"):
        store.read("a.json", max_bytes=2)
    store.delete(["a.json", "absent.json"])
    assert store.size("a.json") is None
    assert pickle.loads(pickle.dumps(store)).list() == {"c.tar": 10}


def test_the_first_one_to_create_a_file_counts(store, tmp_path):
    assert store.create("claim", b"mine") and not store.create("claim", b"yours")
    assert store.read("claim", max_bytes=9) == b"mine"
    (tmp_path / "big").write_bytes(b"other")
    assert not store.upload("claim", tmp_path / "big", replace=False) and store.read("claim", max_bytes=9) == b"mine"
    assert store.upload("claim", tmp_path / "big") and store.upload("claim", tmp_path / "big", replace=False)
    assert store.same("claim", tmp_path / "big") and not store.same("absent", tmp_path / "big")


def test_an_upload_that_arrives_damaged_is_sent_again(tmp_path, monkeypatch):
    faults = iter(["cut", "fail", "late"])
    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda op, path: next(faults, None) if op == "put" else None))
    (tmp_path / "big").write_bytes(bytes(range(256)))
    store = open_objects("faulty://bucket/place")
    assert store.upload("c.tar", tmp_path / "big", replace=False)
    assert store.read("c.tar", max_bytes=999) == bytes(range(256))


def test_a_claim_whose_answer_was_lost_is_this_calls(monkeypatch):
    faults = iter(["late"])
    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(lambda op, path: next(faults, None)))
    store = open_objects("faulty://bucket/place")
    assert store.create("claim", b"mine") and not store.create("claim", b"yours")


def test_a_store_without_exclusive_writes_is_looked_up_first(monkeypatch):
    class Plain(MemoryFileSystem):
        def pipe_file(self, path, value, mode="overwrite", **options):
            if mode == "create":
                raise OSError("An error occurred (NotImplemented): A header you provided implies functionality")
            super().pipe_file(path, value)

    monkeypatch.setattr("shards.stores.objects.opened", lambda url: (Plain(), "/bucket/place"))
    store = FsspecObjects("memory://bucket/place")
    assert store.create("claim", b"mine") and not store.create("claim", b"yours")


@pytest.mark.parametrize(
    ("error", "todo"),
    [
        (PermissionError("Access Denied"), "give these credentials the right to read, list, write and delete there"),
        (FileNotFoundError("The specified bucket does not exist"), "see that the bucket exists"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"), "give credentials where"),
        (OSError("503 Slow Down"), "4 tries in a row failed, the last with OSError: 503 Slow Down"),
    ],
)
def test_what_the_store_refuses_names_the_url_and_what_to_do(tmp_path, monkeypatch, error, todo):
    def refuse(operation: str, path: str) -> None:
        raise error

    monkeypatch.setattr(FaultyFileSystem, "fault", staticmethod(refuse))
    (tmp_path / "big").write_bytes(b"1")
    store = open_objects("faulty://bucket/place")
    for write in (lambda: store.upload("x", tmp_path / "big"), lambda: store.create("x", b"1"), lambda: store.put("x", b"1")):
        with pytest.raises(StoreFailure, match="faulty://bucket/place/x cannot be written") as failure:
            write()
        assert todo in str(failure.value)


def test_credentials_are_not_shown(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    text = "403 for ftp://me:hush@host/x?X-Amz-Signature=abc123&list=1 (secret wJalrXUtnFEMI, AccessKeyId: AKIA12345)"
    shown = without_credentials(text)
    assert not any(secret in shown for secret in ("hush", "abc123", "wJalr", "AKIA12345")) and "list=1" in shown
    assert FsspecObjects("memory://me:hush@bucket/x").where("y") == "memory://bucket/x/y"


def test_checksums_that_stores_state(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"content")
    md5 = hashlib.md5(b"content")
    assert vouched({"ETag": f'"{md5.hexdigest()}"'}, path)
    assert vouched({"ETag": f'"{hashlib.md5(md5.digest()).hexdigest()}-1"'}, path) and len(b"content") < PART_BYTES
    assert vouched({"md5Hash": base64.b64encode(md5.digest()).decode()}, path)
    assert vouched({"content_settings": {"content_md5": bytearray(md5.digest())}}, path)
    for said in ({}, {"ETag": '"0x8D"'}, {"ETag": f'"{"0" * 32}"'}, {"md5Hash": "AAAA"}):
        assert not vouched(said, path)


@pytest.mark.parametrize("url", ["https://host/cache", "nothing://bucket/x", "memory://"])
def test_urls_that_cannot_hold_a_cache_are_refused(url):
    with pytest.raises(InputError, match="expected a URL"):
        open_objects(url)
