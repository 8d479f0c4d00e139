"""A table as TensorBoard's Embedding Projector reads it.

The projector takes a tensor and metadata as TSV, and a text that names both: a `ProjectorConfig`
of tensorboard/plugins/projector/projector_config.proto, in the text format of Protocol Buffers.
None of that needs TensorBoard or TensorFlow to be installed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import EmbedFreezeError, FileError, reason
from embedfreeze.files import (
    PathLike,
    atomic_files,
    check_output,
    is_remote,
    name_of,
    refuse_input,
)
from embedfreeze.formats import TableLike, embeddings_of
from embedfreeze.formats.texts.projector import write_vectors
from embedfreeze.plainlines import counted, shown_token
from embedfreeze.threads import spans

__all__ = ["TOP", "ProjectorFiles", "check_projector", "write_projector"]

CONFIG, VECTORS, METADATA = "projector_config.pbtxt", "vectors.tsv", "metadata.tsv"
TOP = 10_000  # the projector becomes slow in a browser where there are many more
LEAST_DIM = 3
PART = 1 << 12  # rows at a time
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ProjectorFiles:
    """What was written for the projector.

    Attributes
    ----------
    folder : str
        To start TensorBoard with: ``tensorboard --logdir FOLDER``.
    files : tuple of str
        Their names.
    rows, dim : int
        Shape of what is shown.
    order : {"count", "row"}
        The most frequent tokens are shown, or the first rows.
    left_out : int
        Rows among them with a value that is not finite, which the projector cannot place.
    """

    folder: str
    files: tuple[str, ...]
    rows: int
    dim: int
    order: str
    left_out: int

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        which = "the most frequent" if self.order == "count" else "the first"
        told = f"{self.folder}: {which} {counted(self.rows, 'token')}, {self.dim} values each"
        if self.left_out:
            told += f" ({self.left_out:,} left out: their values are not finite)"
        return f"{told}\nlook at them: tensorboard --logdir {self.folder}, then /#projector"


def write_projector(
    embeddings: TableLike, folder: PathLike, *, top: int = TOP, overwrite: bool = False
) -> ProjectorFiles:
    """Write what TensorBoard's Embedding Projector reads: vectors, labels, and their names.

    Neither TensorBoard nor TensorFlow is needed to write them.

    Parameters
    ----------
    embeddings : Embeddings, AlignedEmbeddings, or path
        A path is read as `read` does. Where counts are known, as in a store, the most frequent
        tokens are shown, else the first rows. Values are written so that they are read again to
        the bit.
    folder : path
        The log directory, made if it is missing; it may hold the logs of a training.
    top : int
        How many tokens. The projector takes at most 100,000, and is slow with that.
    overwrite : bool
        Replace the files of an earlier call.

    Returns
    -------
    ProjectorFiles
        What was written. Tokens that a line of labels cannot show as they are, such as an empty one
        or one with a tab, stand there as Python spells them: ``''``, ``'a\\tb'``.

    Raises
    ------
    FileError
        A file exists and `overwrite` is false, or one cannot be written.
    EmbedFreezeError
        No row is finite, or rows have less than the three values that the projector draws.

    Examples
    --------
    ``write_projector(ef.read("glove.6B.300d.txt", limit=10_000), "logs")``
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, received {top}")
    embeddings = embeddings_of(embeddings)
    if embeddings.dim < LEAST_DIM:
        raise EmbedFreezeError(
            f"a row must be at least {LEAST_DIM} values, as the projector draws nothing of less, "
            f"received {embeddings.dim}: draw them with matplotlib"
        )
    check_projector(folder, overwrite=overwrite)
    place = name_of(folder)
    rows, order = _chosen(embeddings, top)
    finite = _finite(embeddings, rows)
    shown = rows[finite]
    if not len(shown):
        raise EmbedFreezeError(
            f"at least one row must be finite to be shown, received {len(rows)} rows of which "
            f"none is: give a table of vectors"
        )
    config = os.path.join(place, CONFIG)
    with _folder(place), atomic_files(config, overwrite=overwrite) as output:
        _write_vectors(embeddings, shown, output.beside(VECTORS))
        _write_metadata(embeddings, shown, output.beside(METADATA), order == "count")
        output.file.write(_config(embeddings, len(shown)))
    return ProjectorFiles(
        place,
        (CONFIG, VECTORS, METADATA),
        len(shown),
        embeddings.dim,
        order,
        len(rows) - len(shown),
    )


def check_projector(
    folder: PathLike, *, overwrite: bool = False, read: Iterable[object] = ()
) -> None:
    """Refuse what `write_projector` cannot write, before there is anything to write.

    Raises
    ------
    FileError
        The folder is none, or one of the files exists and `overwrite` is false, or is one of those
        that are `read`.
    """
    name = name_of(folder)
    if is_remote(name):
        raise FileError("is not on this machine: name a folder that is", path=name)
    if os.path.lexists(name) and not os.path.isdir(name):
        raise FileError("is no folder: name one, or a new one", path=name)
    if os.path.isdir(name):
        for file in (CONFIG, VECTORS, METADATA):
            check_output(os.path.join(name, file), overwrite=overwrite)
            refuse_input(os.path.join(name, file), *read)


def _chosen(embeddings: Embeddings, top: int) -> tuple[Int64, str]:
    """The rows to show, and what was asked for them."""
    counts = embeddings.alignment.counts
    if counts is None or counts.max(initial=-1) < 0:
        return np.arange(min(top, len(embeddings))), "row"
    return np.argsort(-counts, kind="stable")[:top], "count"


def _parts(embeddings: Embeddings, rows: Int64) -> Iterator[npt.NDArray[Any]]:
    """Stored rows, a portion at a time."""
    for low, high in spans(0, len(rows), PART):
        yield embeddings.matrix[rows[low:high]]


def _finite(embeddings: Embeddings, rows: Int64) -> npt.NDArray[np.bool_]:
    parts = (np.isfinite(storage.decode(part)) for part in _parts(embeddings, rows))
    return np.concatenate([np.ones(0, np.bool_), *(part.all(axis=1) for part in parts)])


@contextlib.contextmanager
def _folder(name: str) -> Iterator[None]:
    """A folder, which is taken away again if it is new and an error leaves it empty."""
    new = not os.path.isdir(name)
    try:
        os.makedirs(name, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made: {reason(error)}", path=name) from error
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                os.rmdir(name)
        raise


def _write_vectors(embeddings: Embeddings, rows: Int64, file: IO[bytes]) -> None:
    for part in _parts(embeddings, rows):
        write_vectors(part, file)


def _write_metadata(embeddings: Embeddings, rows: Int64, file: IO[bytes], counted: bool) -> None:
    """Labels, a line each; with counts a second column, and therefore names of columns."""
    tokens, counts = embeddings.tokens.escaped(), embeddings.alignment.counts
    file.write(b"Token\tCount\n" if counted else b"")
    for row in rows.tolist():
        label = shown_token(tokens[row])
        if counted and counts is not None:
            label += f"\t{counts[row] if counts[row] >= 0 else ''}"
        file.write(label.encode() + b"\n")


def _config(embeddings: Embeddings, rows: int) -> bytes:
    name = os.path.basename(embeddings.path or "") or "embeddings"
    return (
        "embeddings {\n"
        f'  tensor_name: "{_quoted(name)}"\n'
        f"  tensor_shape: {rows}\n"
        f"  tensor_shape: {embeddings.dim}\n"
        f'  tensor_path: "{VECTORS}"\n'
        f'  metadata_path: "{METADATA}"\n'
        "}\n"
    ).encode()


def _quoted(text: str) -> str:
    """Text between quotation marks of the text format, which has the escapes of C."""
    spelled = text.encode("utf-8", "backslashreplace")
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in spelled)
