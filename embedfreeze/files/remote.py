"""Files on the network, by URL, through fsspec."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from embedfreeze.errors import FileError, without_secrets

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["RemoteFile", "is_remote", "refuse_remote"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PIECE_BYTES = 8 << 20
_INSTALL = 'pip install "embedfreeze[remote]"'
_OF_EXTRA = ("http", "https", "hf")
_OWN_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs"}  # these are large, and no part of the extra
# What the libraries raise beside OSError and ValueError.
_FAILURES = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
    ("httpx", "HTTPError"),
    ("httpx2", "HTTPError"),  # of the same library, as later versions of huggingface_hub use it
)


def is_remote(path: str) -> bool:
    """Is it a URL?"""
    return _URL.match(path) is not None


def refuse_remote(path: str) -> None:
    """`FileError` for a target on the network."""
    if is_remote(path):
        raise FileError("is on the network: write a file, then copy it there", path=path)


class RemoteFile(io.RawIOBase):
    """A file on the network, read as it is needed.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/key``; one with a protocol that fsspec knows.

    Attributes
    ----------
    size : int
        0 if the server does not say it.

    Raises
    ------
    FileError
        It cannot be opened, here, or read, later. No message has the credentials of the URL.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        with self._failures():
            self._file, self._seeks, self.size = _opened(url)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seeks

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with self._failures():
            self._at = int(self._file.seek(offset, whence))
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        with self._failures():
            data = self._file.read(min(len(target), _PIECE_BYTES))
        if not data and len(target) and self._at < self.size:
            raise EOFError(f"it has {self.size} bytes, of which {self._at} came")
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except FileError:
            raise
        except FileNotFoundError as error:
            message = _not_found(error, self._url)
        except _failures() as error:
            message = f"cannot be read: {_said(error, self._url)}: check the path and your rights"
        else:
            return
        # What is raised here shows nothing of an error that may quote the URL.
        raise FileError(message, path=self._url) from None


def _failures() -> tuple[type[Exception], ...]:
    found = [getattr(sys.modules.get(name), kind, None) for name, kind in _FAILURES]
    # The last two: a protocol that needs more than a URL says.
    usual = (OSError, ValueError, NotImplementedError, TypeError)
    return *usual, *(kind for kind in found if kind is not None)


def _not_found(error: FileNotFoundError, url: str) -> str:
    """That it is not there, or what fsspec takes for that, such as a server that is not there."""
    cause = error.__cause__
    if cause is None or getattr(cause, "status", None) in (404, 410):
        return "cannot be read: there is no such file: check the path"
    return f"cannot be read: {_said(cause, url)}: check the path and your rights"


def _said(error: BaseException, url: str) -> str:
    text = str(error).replace(url, without_secrets(url))
    text = " ".join(without_secrets(word) for word in text.split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _remedy(protocol: str, error: ImportError) -> str:
    """How to get the library of a protocol; fsspec says it of those that are not in the extra."""
    if error.name == "fsspec" or protocol in _OF_EXTRA:
        return _INSTALL
    library = _OWN_LIBRARIES.get(protocol)
    return str(error) if library is None else f"{_INSTALL} {library}"


def _opened(url: str) -> tuple[Any, bool, int]:
    """An open file, whether it can seek, and its size or 0."""
    protocol = url.partition("://")[0].lower()
    try:
        fsspec = importlib.import_module("fsspec")
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        remedy = _remedy(protocol, error)
        raise FileError(
            f"{protocol}:// needs a library that is missing: {remedy}", path=url
        ) from None
    file = files.open(path, "rb")
    size = int(getattr(file, "size", None) or 0)
    if protocol not in ("http", "https") or _gives_ranges(file):
        return file, True, size
    file.close()
    return files.open(path, "rb", block_size=0), False, size


def _gives_ranges(file: Any) -> bool:
    """Does the server give the end of a file alone? Many say nothing of it."""
    if not file.size:
        return False
    try:
        file.seek(file.size - 1)
        file.read(1)
        file.seek(0)
    except ValueError:
        return False
    return True
