"""The errors of this package: one family, each with the place and the remedy in its message."""

from __future__ import annotations

import errno
import re

__all__ = [
    "EmbedFreezeError",
    "FileError",
    "FormatError",
    "FrozenBytesChanged",
    "FrozenError",
    "QuantizationRefused",
    "TableNotFound",
    "UnknownTokenError",
    "VocabularyError",
    "not_pickled",
    "reason",
    "without_secrets",
]


# What to do about the failures of files that happen to everyone.
_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ELOOP: "check the path, a link leads to itself",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "change the rights, or name another place",
    errno.EPERM: "change the rights, or name another place",
    errno.EROFS: "name another place",
    errno.ENOSPC: "free space there, or name another place",
    errno.EDQUOT: "free space there, or name another place",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def not_pickled(what: str) -> TypeError:
    """The error of something that lies in memory that is mapped, and belongs to a table.

    Parameters
    ----------
    what : str
        What it is.

    Returns
    -------
    TypeError
        To be raised.
    """
    return TypeError(
        f"{what} cannot be pickled or copied deeply: save the table as a store (its save, or "
        "embedfreeze.write) and read that wherever it is needed; it is mapped, not copied"
    )


def reason(error: Exception) -> str:
    """What the operating system says of a file, and what to do about it.

    Parameters
    ----------
    error : Exception
        What was raised.

    Returns
    -------
    str
        Without a full stop.
    """
    said = str(getattr(error, "strerror", None) or error)
    number = getattr(error, "errno", None)
    return f"{said}: {_REMEDIES[number]}" if number in _REMEDIES else said


def without_secrets(path: str) -> str:
    """A path; a URL without the user, the password and the query that may be credentials.

    Parameters
    ----------
    path : str
        Any path or URL.

    Returns
    -------
    str
        To be shown.

    Examples
    --------
    >>> without_secrets("https://me:secret@host/file.txt?signature=abc")
    'https://host/file.txt'
    """
    if "://" not in path:
        return path
    return re.sub(r"(://)[^/?#]*@|[?#].*", r"\1", path, flags=re.DOTALL)


class EmbedFreezeError(ValueError):
    """Base of every error that this package raises on purpose."""


class FileError(EmbedFreezeError, OSError):
    """A file cannot be opened, found, created or replaced.

    Parameters
    ----------
    message : str
        What is wrong and what to do about it.
    path : str, optional
        The file, as the caller spelled it; a URL is shown without credentials.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        path = path and without_secrets(path)
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class FormatError(FileError):
    """The content of a file is not what its format asks for.

    Parameters
    ----------
    message : str
        The rule, what was received, and what to do about it.
    path : str, optional
        The file, as the caller spelled it.
    line, column : int, optional
        1-based place in a text file; columns count fields, the token being column 1.
    offset : int, optional
        0-based byte offset in the (decompressed) file.
    row : int, optional
        0-based row, in formats whose rows have no place of their own in the file.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        line: int | None = None,
        column: int | None = None,
        offset: int | None = None,
        row: int | None = None,
    ) -> None:
        places = [("line", line), ("column", column), ("byte offset", offset), ("row", row)]
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        super().__init__(f"{where}: {message}" if where else message, path=path)
        self.line = line
        self.column = column
        self.offset = offset
        self.row = row


class UnknownTokenError(EmbedFreezeError, KeyError):
    """A token is not in the table or vocabulary that was asked for it."""

    __str__ = Exception.__str__  # KeyError would show the message in quotation marks


class VocabularyError(EmbedFreezeError):
    """The tokens or special tokens of a vocabulary contradict each other."""


class FrozenError(EmbedFreezeError):
    """Something tried to change, thaw or wrongly restore a frozen matrix and was refused."""


class TableNotFound(FrozenError, FileError):
    """No place that was looked at has the table of a saved model."""


class QuantizationRefused(FrozenError, NotImplementedError):
    """A frozen layer was asked to quantize its table, as `NotImplementedError` tells Keras."""


class FrozenBytesChanged(EmbedFreezeError):
    """Bytes that were promised to stay the same did not, or were replaced by others.

    Parameters
    ----------
    message : str
        What was found.
    layer : str, optional
        Name of the layer that holds the matrix.
    step : int or tuple of int, optional
        The training step (1-based) after which the check failed; first and last step
        where several ran in one execution.
    row : int, optional
        0-based row that differs, where the original bytes survive to compare with.
    token : str, optional
        The token of that row.
    block : int, optional
        0-based index of the first 1 MiB block whose digest differs.
    """

    def __init__(
        self,
        message: str,
        *,
        layer: str | None = None,
        step: int | tuple[int, int] | None = None,
        row: int | None = None,
        token: str | None = None,
        block: int | None = None,
    ) -> None:
        super().__init__(message)
        self.layer = layer
        self.step = step
        self.row = row
        self.token = token
        self.block = block
