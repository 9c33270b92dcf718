"""A place for files behind an fsspec URL, such as ``s3://bucket/assistant``.

A file appears there only when it is whole: object stores do that by themselves, and in a directory it is
written under another name and renamed. The same holds for a file that is fetched.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from figa_core.errors import ArtifactsError, ConfigError, one_line
from figa_core.files import PARTIAL, replacing

_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
_VERSION_FIELDS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")
_PROBE = "probe-"


class Store:
    """Names are relative to the URL, with slashes. Every method raises ArtifactsError if the store fails."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet.

        Raises:
            ConfigError: the URL is of no known kind, or the library for it is not installed.
        """
        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        if "://" not in url:
            raise ConfigError(f"{url!r} is no URL: write it as s3://BUCKET/PREFIX or file:///DIRECTORY.")
        try:
            # A listing must be what is there now, and another thread's connections are its own.
            options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
            self._files, root = fsspec.url_to_fs(self.url, **options)
        except ImportError as error:
            package = _EXTRAS.get(protocol, "its package")
            extra = ' (pip install "figa[s3]")' if package == "s3fs" else ""
            raise ConfigError(
                f"{url}: files behind {protocol}:// need {package}, which is not installed here{extra}."
            ) from error
        except ValueError as error:
            raise ConfigError(f"{url}: fsspec does not know this kind of URL ({one_line(error)}).") from error
        self._root = str(root).rstrip("/")

    def listing(self, below: str) -> dict[str, str]:
        """Name relative to `below` → a text that changes with the file's content, of every file below it."""
        prefix = f"{self._root}/{below}/"
        with self._told(f"list {below}"):
            try:
                found: dict[str, dict[str, Any]] = self._files.find(prefix, detail=True)
            except FileNotFoundError:
                return {}
            named = {path.removeprefix(prefix): info for path, info in found.items()}
            return {name: _version(info) for name, info in named.items() if not name.endswith(PARTIAL)}

    def send(self, source: Path, name: str) -> bool:
        """Write a file of this machine to the store; returns False if it has been removed here."""
        with self._told(f"write {name}"):
            try:
                self._appearing(name, lambda path: self._files.put_file(str(source), path))
            except FileNotFoundError:
                if source.exists():
                    raise
                return False
        return True

    def fetch(self, name: str, target: Path) -> bool:
        """Write a file of the store to `target`; returns False if it is not there."""
        with self._told(f"read {name}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with replacing(target) as file:
                    self._files.get_file(f"{self._root}/{name}", file.name)
            except FileNotFoundError:
                return False
        return True

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if there is none."""
        with self._told(f"read {name}"):
            try:
                return self._files.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file's content."""
        with self._told(f"write {name}"):
            self._appearing(name, lambda path: self._files.pipe_file(path, content))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""
        for name in names:
            with self._told(f"remove {name}"), suppress(FileNotFoundError):
                self._files.rm_file(f"{self._root}/{name}")

    def check(self) -> None:
        """Write, list, read and remove a small file."""
        name = f"{_PROBE}{uuid.uuid4().hex[:12]}/file"
        self.write(name, b"figa")
        listed, found = self.listing(name.partition("/")[0]), self.read(name)
        self.remove([name])
        if found != b"figa" or set(listed) != {"file"}:
            raise ArtifactsError(f"{self.url}: a file that was written there is not found again.")

    def _appearing(self, name: str, write: Callable[[str], object]) -> None:
        path = f"{self._root}/{name}"
        if isinstance(self._files, LocalFileSystem):  # which writes in place
            partial = f"{path}.{uuid.uuid4().hex[:8]}{PARTIAL}"
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            try:
                write(partial)
                Path(partial).replace(path)
            finally:
                Path(partial).unlink(missing_ok=True)
        else:
            write(path)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """The backends raise errors of many kinds, and none of their own."""
        try:
            yield
        except (ArtifactsError, KeyboardInterrupt):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ArtifactsError(f"{self.url}: cannot {doing} ({reason}). {_REMEDY}") from error


_REMEDY = (
    "Check the address and this machine's credentials for it; then run again: what is stored is not repeated."
)


def _version(info: dict[str, Any]) -> str:
    return " ".join(str(info[field]) for field in ("size", *_VERSION_FIELDS) if info.get(field) is not None)
