"""TensorFlow: one variable [n, dim] of a checkpoint, also of that in a SavedModel.

TensorFlow is not needed, nothing of a graph is run. A checkpoint is named by its prefix
(``ckpt-1``), its index, or a folder whose ``checkpoint`` names the latest; a SavedModel by its
folder. Sources: those of `embedfreeze.checkpoints`; for the names of variables
tensorflow/core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.checkpoints import MAGIC, Bundle, Stored
from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.arrays.rows import BATCH_BYTES, row_batches
from embedfreeze.formats.base import Format, Reading, ReadOptions
from embedfreeze.formats.candidates import Candidate, described, kind_of, likely
from embedfreeze.formats.side.layers import layer_tokens
from embedfreeze.threads import spans

__all__ = ["TENSORFLOW"]

INDEX = ".index"
PART = re.compile(r"(.+)(?:\.index|\.data-\d{5}-of-\d{5})", re.DOTALL)
SAVED_MODEL = "saved_model.pb"
LATEST = b"model_checkpoint_path:"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # behind the name of every variable of an object
SLOT = "/.OPTIMIZER_SLOT/"  # of Keras 2: a moment has the name of its variable
FLOATS = ("float32", "float64", "float16", "bfloat16")
RELEASED_ROWS = 1 << 16
Int64 = npt.NDArray[np.int64]


def sniff(source: Source) -> bool:
    """The end of an index, a file that names the latest checkpoint, or one beside an index?"""
    if source.buffer is None:
        return False
    if source.buffer[-len(MAGIC) :] == MAGIC or source.head.startswith(LATEST):
        return True
    prefix = _prefix_of(source.located or "")
    return (
        prefix is not None and prefix + INDEX != source.located and os.path.isfile(prefix + INDEX)
    )


def _prefix_of(name: str) -> str | None:
    """The prefix of the checkpoint that a file belongs to, by its name."""
    folder, file = os.path.split(name)
    if file == SAVED_MODEL:
        return os.path.join(folder, "variables", "variables")
    found = PART.fullmatch(name)
    return None if found is None else found[1]


# ---- which checkpoint, and which variable


def _prefix(source: Source) -> str:
    if source.located is None or source.buffer is None:
        raise FileError(
            "a checkpoint has its values in further files beside it: name its index on the disk, "
            "unpacked",
            path=source.name,
        )
    if source.head.startswith(LATEST):
        return _latest(source)
    prefix = _prefix_of(source.located)
    if prefix is None:
        raise _first_version(source.name)
    return prefix


def _first_version(path: str) -> FormatError:
    return FormatError(
        f"a checkpoint must have an index, a file whose name ends in {INDEX}, received one of "
        f"TensorFlow's first version, which is one file: open it in TensorFlow and save it again "
        f"with tf.train.Checkpoint or tf.compat.v1.train.Saver",
        path=path,
    )


def _latest(source: Source) -> str:
    """The prefix that a file ``checkpoint`` names, beside it unless it tells another folder."""
    found = re.match(rb'\s*model_checkpoint_path:\s*"((?:[^"\\\n]|\\.)*)"', source.head)
    if found is None:
        raise FormatError(
            "a file `checkpoint` must name a checkpoint in its first line, received none: name "
            f"the checkpoint's {INDEX} file",
            path=source.name,
        )
    name = os.fsdecode(re.sub(rb"\\(.)", rb"\1", found[1]))
    folder = os.path.dirname(source.located or "")
    beside = os.path.join(folder, os.path.basename(name))  # a folder that was moved or copied
    named = os.path.join(folder, name)
    prefix = named if os.path.isfile(named + INDEX) else beside
    if os.path.isfile(prefix) and not os.path.isfile(prefix + INDEX):
        raise _first_version(prefix)
    return prefix


def _is_matrix(stored: Stored) -> bool:
    return stored.dtype in FLOATS and len(stored.shape) == 2 and stored.shape[1] > 0


def _candidates(bundle: Bundle) -> list[Candidate]:
    """The variables of floats [n, dim]; one that was saved twice, under its better name."""
    names = bundle.full_names()
    found: dict[object, Candidate] = {}
    keys = sorted(bundle.variables, key=lambda key: (key.startswith(b"_"), key))
    for key in keys:
        stored = bundle.variables[key]
        if _is_matrix(stored):
            name, full = key.decode("utf-8", "surrogateescape"), names.get(key)
            shown = name.removesuffix(VALUE)
            kind = kind_of(full or shown, shown if SLOT in shown else None)
            one = Candidate(shown, stored.shape, stored.dtype, kind, full)
            same = (full, stored.checksum, stored.shape) if full else key
            found.setdefault(same, one)
    return list(found.values())


def _chosen(source: Source, bundle: Bundle, notes: list[str]) -> bytes:
    candidates = _candidates(bundle)
    if source.part is not None:
        return _named(source, bundle, candidates, source.part)
    one = likely(candidates)
    if one is None:
        raise FormatError(
            f"one variable of floats [n, dim] is needed unless member= (--member) names one, "
            f"received {described(candidates)}",
            path=source.name,
        )
    if len(candidates) > 1:
        notes.append(
            f"{one.name} is taken as the one variable of an embedding layer; member= (--member) "
            f"names another"
        )
    return _key(bundle, one.name)


def _key(bundle: Bundle, name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    return key if key in bundle.variables else key + VALUE.encode()


def _named(source: Source, bundle: Bundle, candidates: list[Candidate], member: str) -> bytes:
    called = [one for one in candidates if member.removesuffix(":0") in (one.known_as, one.name)]
    key = _key(bundle, called[0].name if len(called) == 1 else member)
    stored = bundle.variables.get(key)
    if stored is None or not _is_matrix(stored):
        raise FormatError(
            f"member must name one variable of floats [n, dim], received {member!r}; the "
            f"checkpoint has {described(candidates)}",
            path=source.name,
        )
    return key


# ---- its values


@dataclass(frozen=True, eq=False)
class _Piece:
    """Consecutive rows of a variable in a mapped file."""

    first: int
    values: npt.NDArray[Any]
    mapping: mmap
    offset: int

    @classmethod
    def of(cls, source: Source, bundle: Bundle, stored: Stored, first: int) -> _Piece:
        mapping = bundle.mapped(stored)
        source.guard(mapping)
        dtype = "<u2" if stored.dtype == "bfloat16" else np.dtype(stored.dtype).newbyteorder("<")
        flat = np.frombuffer(mapping, dtype, stored.shape[0] * stored.shape[1], stored.offset)
        return cls(first, flat.reshape(stored.shape), mapping, stored.offset)

    def fill(self, matrix: npt.NDArray[Any], rows: Int64) -> None:
        """Copy some rows, of which those of other pieces are left out."""
        low, high = np.searchsorted(rows, (self.first, self.first + len(self.values)))
        for start, stop in spans(int(low), int(high), RELEASED_ROWS):
            own = rows[start:stop] - self.first
            first, last = int(own[0]), int(own[-1]) + 1
            picked = slice(first, last) if last - first == len(own) else own
            matrix[start:stop] = _as_floats(self.values[picked])
            width = self.values.strides[0]
            release_pages(self.mapping, self.offset + first * width, self.offset + last * width)


def _as_floats(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values, those of bfloat16 as float32."""
    if values.dtype != np.uint16:
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


def _pieces(source: Source, bundle: Bundle, key: bytes) -> list[_Piece]:
    first, pieces = 0, []
    for part in bundle.parts(key):
        pieces.append(_Piece.of(source, bundle, part, first))
        first += part.shape[0]
    return pieces


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a variable of floats (float64, float32, float16, bfloat16) and a file of its tokens."""
    prefix = _prefix(source)
    try:
        bundle = Bundle(prefix)
        notes: list[str] = []
        key = _chosen(source, bundle, notes)
        pieces = _pieces(source, bundle, key)
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        path = getattr(error, "filename", None) or prefix + INDEX
        raise FileError(f"cannot be read: {reason(error)}", path=path) from error
    stored = bundle.variables[key]
    rows, dim = stored.shape
    reading = Reading(dim, options.rows_dtype, options.limited(rows), notes=notes)
    reading.notes.append(f"variable {key.decode('utf-8', 'replace')} of {stored.dtype}")
    tokens = layer_tokens(source, rows, options, prefix + INDEX)

    def fill(matrix: npt.NDArray[Any], wanted: Int64) -> None:
        for piece in pieces:
            piece.fill(matrix, wanted)

    step = max(1, BATCH_BYTES // (4 * dim))
    reading.batches = row_batches(source, options, reading, tokens, fill, step)
    return reading


TENSORFLOW = Format(
    "tensorflow",
    sniff,
    read,
    main=("variables/variables.index", "checkpoint"),
    parts=True,
)
