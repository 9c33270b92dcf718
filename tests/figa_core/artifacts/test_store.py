"""Files behind URLs: a directory, and S3 by its protocol."""

from collections.abc import Callable
from pathlib import Path

import pytest

from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError, ConfigError


def test_a_file_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "there").write_bytes(content)
    assert store.send(tmp_path / "there", "a/b c/ü")
    assert store.fetch("a/b c/ü", tmp_path / "new" / "back")
    assert (tmp_path / "new" / "back").read_bytes() == content


def test_an_empty_file_is_a_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert store.send(tmp_path / "empty", "orders/one")
    assert set(store.listing("orders")) == {"one"}
    assert store.fetch("orders/one", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_what_is_not_there_is_neither_fetched_nor_read(store: Store, tmp_path: Path) -> None:
    store.write("here", b"1")
    assert not store.fetch("gone", tmp_path / "target")
    assert store.read("gone") is None
    assert store.listing("gone") == {}
    assert list(tmp_path.glob("target*")) == []
    store.remove(["gone"])


def test_a_file_that_is_gone_here_is_not_sent(store: Store, tmp_path: Path) -> None:
    assert not store.send(tmp_path / "gone", "a")
    assert store.read("a") is None


def test_the_version_of_a_file_changes_with_its_content(store: Store) -> None:
    store.write("beats/alive", b"1")
    first = store.listing("beats")
    store.write("beats/alive", b"2")
    second = store.listing("beats")
    assert first["alive"] != second["alive"]
    assert second == store.listing("beats")


def test_a_listing_has_only_what_is_below(store: Store) -> None:
    for name in ("a/one", "a/b/two", "ab/three", "four"):
        store.write(name, b"")
    assert set(store.listing("a")) == {"one", "b/two"}


def test_removed_files_are_gone(store: Store) -> None:
    store.write("a/one", b"1")
    store.write("a/two", b"2")
    store.remove(["a/one"])
    assert set(store.listing("a")) == {"two"}


def test_a_check_leaves_nothing(store: Store) -> None:
    store.check()
    assert not [name for name in store.listing(".") if "probe" in name]


def test_a_store_that_shows_an_old_listing_is_refused(tmp_path: Path) -> None:
    class Stale(Store):
        def listing(self, below: str) -> dict[str, str]:
            return {}

    with pytest.raises(ArtifactsError, match="is not found again"):
        Stale(f"file://{tmp_path}/store").check()


def test_a_directory_is_never_left_with_half_a_file(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store")
    (tmp_path / "store" / "a").mkdir(parents=True)
    (tmp_path / "store" / "a" / "one.1234.partial").write_bytes(b"half")
    assert store.listing("a") == {}


def test_a_bucket_that_does_not_exist_is_said(bucket: str) -> None:
    missing = bucket.replace("/assistant", "x/assistant")
    with pytest.raises(ArtifactsError, match=r"cannot write probe-.*(?i:bucket does not exist).*credentials"):
        Store(missing).check()


def test_a_file_without_a_bucket_is_no_file_that_is_gone_here(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    with pytest.raises(ArtifactsError, match=r"cannot write a .*(?i:bucket does not exist)"):
        Store(bucket.replace("/assistant", "x/assistant")).send(tmp_path / "file", "a")


def test_without_credentials_it_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ArtifactsError, match=r"cannot write probe-.*credentials"):
        Store(bucket).check()


def test_a_server_that_does_not_answer_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ArtifactsError, match=r"s3://.*cannot write probe-.*127\.0\.0\.1:9"):
        Store(bucket).check()


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactsError, match=r"cannot write probe-.*(NotADirectory|FileExists)Error"):
        Store(f"file://{tmp_path}/file").check()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("runs/store", "is no URL"),
        ("teapot://place/x", "does not know this kind of URL"),
        ("gs://bucket/x", "needs? gcsfs, which is not installed"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_words(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Store(url)


@pytest.mark.parametrize(
    "url",
    [
        "sftp://host/runs",
        "SSH://host/runs",
        "ftp://host/runs",
        "smb://host/share",
        "simplecache::sftp://host/runs",
    ],
)
def test_a_store_on_which_files_appear_before_they_are_whole_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=rf"{url}: others would see a file .* while it is written\. Use an"):
        Store(url)


def test_a_bucket_that_does_not_exist_is_no_empty_store(bucket: str, tmp_path: Path) -> None:
    missing = Store(bucket.replace("/assistant", "x/assistant"))
    calls: dict[str, Callable[[], object]] = {
        "list dir": lambda: missing.listing("dir"),
        "read one": lambda: missing.read("one"),
        "remove one": lambda: missing.remove(["one"]),
    }
    for what, call in calls.items():
        with pytest.raises(ArtifactsError, match=rf"cannot {what} .*bucket does not exist.*Check the"):
            call()
    with pytest.raises(ArtifactsError, match="bucket does not exist"):
        missing.fetch("one", tmp_path / "target")
    assert not (tmp_path / "target").exists()
