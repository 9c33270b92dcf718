"""A place for files behind an fsspec URL, such as ``s3://bucket/assistant``.

A file appears there only when it is whole: object stores do that by themselves, and in a directory it is
written under another name and renamed. The same holds for a file that is fetched. So every call may be made
again, which a store does that was told to be `patient`.
"""

import copy
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import fsspec
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem

from figa_core.artifacts.patience import Patience
from figa_core.artifacts.trouble import Trouble, is_place_missing, trouble_of
from figa_core.errors import ArtifactsError, ConfigError, one_line
from figa_core.files import PARTIAL, replacing
from figa_core.processes import interruption

_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
_VERSION_FIELDS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")
_IN_PLACE = frozenset(
    (
        "sftp",
        "ssh",
        "ftp",
        "smb",
        "hdfs",
        "arrow_hdfs",
        "webhdfs",
        "webdav",
        "dbfs",
        "dropbox",
        "gdrive",
        "box",
    )
)
"""File systems on which others see a file while it is written, or which have two of one name."""
_PROBE = "probe-"
_LIBRARY_RETRIES = 2
"""Of s3fs, on top of botocore's own: with more, a server that takes connections and answers nothing would
hold a call for longer than a machine may be silent.
"""
_T = TypeVar("_T")


class Store:
    """Names are relative to the URL, with slashes. Every method raises ArtifactsError if the store fails."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet.

        Raises:
            ConfigError: the URL is of no known kind, or of one that shows files before they are whole, or the
                library for it is not installed.
        """
        self.url = url.rstrip("/")
        self._patience = Patience()
        if "://" not in url:
            raise ConfigError(f"{url!r} is no URL: write it as s3://BUCKET/PREFIX or file:///DIRECTORY.")
        kind = _kind_of(url).lower()
        if kind in _IN_PLACE:
            raise ConfigError(
                f"{url}: others would see a file behind {kind}:// while it is written. Use an object store "
                "(s3://, gs://, abfs://), or mount that disk on each machine and write it as file:///DIRECTORY."
            )
        self._open()

    def _open(self) -> None:
        """With the credentials that this machine has now."""
        protocol = _kind_of(self.url)
        try:
            # A listing must be what is there now, and another thread's connections are its own.
            options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
            self._files, root = fsspec.url_to_fs(self.url, **options)
        except ImportError as error:
            package = _EXTRAS.get(protocol, "its package")
            extra = ' (pip install "figa[s3]")' if package == "s3fs" else ""
            raise ConfigError(
                f"{self.url}: files behind {protocol}:// need {package}, which is not installed here{extra}."
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"{self.url}: fsspec does not know this kind of URL ({one_line(error)})."
            ) from error
        if _EXTRAS.get(protocol) == "s3fs":
            self._files.retries = _LIBRARY_RETRIES
        self._root = str(root).rstrip("/")

    def patient(self, seconds: float, tell: Callable[[str], None] = lambda _: None) -> Self:
        """The same store, whose calls are repeated for so long if they fail for the time being.

        Its calls end early, with InterruptedRunError, if this process is asked to stop. `tell` gets a line
        when the store is away.
        """
        found = copy.copy(self)
        found._patience = Patience(seconds, tell)
        return found

    def listing(self, below: str) -> dict[str, str]:
        """Name relative to `below` → a text that changes with the file's content, of every file below it."""
        prefix = f"{self._root}/{below}/"

        def find() -> dict[str, dict[str, Any]]:
            try:
                return self._files.find(prefix, detail=True)
            except FileNotFoundError as error:
                _check_place(error)
                return {}

        found = {path.removeprefix(prefix): info for path, info in self._done(f"list {below}", find).items()}
        return {name: _version(info) for name, info in found.items() if not name.endswith(PARTIAL)}

    def send(self, source: Path, name: str) -> bool:
        """Write a file of this machine to the store; returns False if it has been removed here."""

        def put() -> bool:
            try:
                self._appearing(
                    name, lambda path: self._files.put_file(str(source), path, callback=self._watch())
                )
            except FileNotFoundError:
                if source.exists():
                    raise
                return False
            return True

        return self._done(f"write {name}", put)

    def fetch(self, name: str, target: Path) -> bool:
        """Write a file of the store to `target`; returns False if it is not there."""

        def get() -> bool:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with replacing(target) as file:
                    self._files.get_file(f"{self._root}/{name}", file.name, callback=self._watch())
            except FileNotFoundError as error:
                _check_place(error)
                return False
            return True

        return self._done(f"read {name}", get)

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if there is none."""

        def cat() -> bytes | None:
            try:
                return self._files.cat_file(f"{self._root}/{name}")
            except FileNotFoundError as error:
                _check_place(error)
                return None

        return self._done(f"read {name}", cat)

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file's content."""
        self._done(
            f"write {name}",
            lambda: self._appearing(name, lambda path: self._files.pipe_file(path, content)),
        )

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""

        def rm(name: str) -> None:
            try:
                self._files.rm_file(f"{self._root}/{name}")
            except FileNotFoundError as error:
                _check_place(error)
                return

        for name in names:
            self._done(f"remove {name}", lambda name=name: rm(name))

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

    def _done(self, doing: str, call: Callable[[], _T]) -> _T:
        return self._patience.keep_on(lambda: self._told(doing, call))

    def _told(self, doing: str, call: Callable[[], _T]) -> _T:
        """The backends raise errors of many kinds, and none of their own."""
        try:
            try:
                return call()
            except Exception as error:
                if trouble_of(error) is not Trouble.KEYS:
                    raise
                self._open()  # the keys may have been renewed in their file
                return call()
        except (ArtifactsError, ConfigError):
            raise
        except _StoppedError:
            interruption.check()
            raise
        except Exception as error:
            trouble, reason = trouble_of(error), f"{type(error).__name__}: {one_line(error)}"
            raise ArtifactsError(
                f"{self.url}: cannot {doing} ({reason}). {_REMEDIES[trouble]}",
                may_pass=trouble is Trouble.PASSES,
            ) from error

    def _watch(self) -> Callback:
        """Ends a transfer of a patient store early; another's belongs to what must be finished first."""
        return _Stopping() if self._patience.seconds else Callback()


def _kind_of(url: str) -> str:
    """Of chained URLs, such as simplecache::s3://bucket, that of the last, where the files are."""
    return url.rpartition("::")[2].partition("://")[0]


def _check_place(error: FileNotFoundError) -> None:
    """Raises the error if not only a file is missing, but the bucket: it would read as an empty store."""
    if is_place_missing(error):
        raise error


class _StoppedError(Exception):
    """An Exception, which fsspec hands over from its thread, as it does not with an interrupt."""


class _Stopping(Callback):
    """Of a transfer: called after each piece."""

    def call(self, hook_name: str | None = None, **kwargs: Any) -> Any:
        if interruption.requested():
            raise _StoppedError
        return super().call(hook_name, **kwargs)


_REMEDIES = {
    Trouble.PASSES: (
        "The store is away or overloaded. Look whether it is up, and at the network and the address; then "
        "run again (in Prefect: Retry): what is stored is not repeated."
    ),
    Trouble.KEYS: (
        "This machine's credentials for it are missing, have expired or are refused. Renew them, and start "
        "the worker again if they are in its environment; then run again (in Prefect: Retry): what is stored "
        "is not repeated."
    ),
    Trouble.CLOCK: (
        "The clock of this machine is wrong by minutes, or the store's is. Set it by NTP; then run again (in "
        "Prefect: Retry): what is stored is not repeated."
    ),
    Trouble.LASTS: (
        "Check the address and this machine's credentials for it; then run again: what is stored is not "
        "repeated."
    ),
}


def _version(info: dict[str, Any]) -> str:
    return " ".join(str(info[field]) for field in ("size", *_VERSION_FIELDS) if info.get(field) is not None)
