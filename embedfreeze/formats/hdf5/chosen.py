"""Which matrix of an HDF5 file is read, and what is known of the file that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.candidates import described as candidates_described
from embedfreeze.formats.candidates import likely
from embedfreeze.formats.hdf5.keras import KerasModel, candidate, is_keras, keras_model
from embedfreeze.formats.hdf5.layout import described, is_matrix, links_of
from embedfreeze.formats.hdf5.matrix import Matrix, matrix_of
from embedfreeze.formats.hdf5.pandas import REMEDY, frame_matrix, frames, is_table_frame

__all__ = ["Chosen", "choose"]

MEMBER_KINDS = "fiu"


@dataclass(frozen=True, eq=False)
class Chosen:
    """The matrix to read.

    Attributes
    ----------
    matrix : Matrix
        Its datasets.
    found : dict of str to h5py.Dataset
        All datasets of the file.
    model : KerasModel, optional
        What is known of the model, in a file of Keras.
    frame : dict of str to h5py.Dataset, optional
        The datasets of the frame, if pandas wrote the matrix.
    note : str, optional
        Why this one was taken.
    """

    matrix: Matrix
    found: dict[str, Any]
    model: KerasModel | None = None
    frame: dict[str, Any] | None = None
    note: str | None = None


def choose(source: Source, file: Any, found: dict[str, Any]) -> Chosen:
    """The matrix that `member` names, the only one, or that of Keras' only embedding layer.

    Raises
    ------
    FormatError
        There is none, or there are several; or it cannot be read.
    """
    if is_keras(file, found):
        return _of_keras(source, file, found, keras_model(source))
    framed = frames(found)
    if source.part is not None:
        name = source.part.strip("/")
        if name in framed:
            return _of_frame(source, found, name, framed[name])
        return Chosen(_named(source, file, found, source.part), found)
    inner = {f"{name}/{part}" for name, parts in framed.items() for part in parts}
    loose = {n: dataset for n, dataset in found.items() if n not in inner and is_matrix(dataset)}
    if len(framed) == 1 and not loose:
        return _of_frame(source, found, *framed.popitem())
    if len(loose) == 1 and not framed:
        return Chosen(matrix_of(source, loose.popitem()[1]), found)
    raise _not_one(source, file, found, [*framed], loose)


def _of_frame(source: Source, found: dict[str, Any], name: str, parts: dict[str, Any]) -> Chosen:
    return Chosen(frame_matrix(source, name, parts), found, frame=parts)


def _named(source: Source, file: Any, found: dict[str, Any], member: str) -> Matrix:
    dataset = found.get(member.strip("/"))
    if dataset is None or not is_matrix(dataset, MEMBER_KINDS):
        raise FormatError(
            f"member must name a 2-D dataset of floats, received {member!r}; the file has "
            f"{described(found)}{links_of(file)}",
            path=source.name,
        )
    return matrix_of(source, dataset)


def _not_one(
    source: Source, file: Any, found: dict[str, Any], framed: list[str], loose: dict[str, Any]
) -> FormatError:
    listed = [f"{name} (a frame of pandas)" for name in framed]
    if is_table_frame(found):
        listed.append(f"a frame that pandas wrote with format='table': {REMEDY}")
    elif loose or not framed:
        listed.append(described(loose or found))
    return FormatError(
        f"one 2-D dataset of floats is needed unless member= (--member) names one, received "
        f"{', '.join(listed)}{links_of(file)}",
        path=source.name,
    )


def _of_keras(source: Source, file: Any, found: dict[str, Any], model: KerasModel) -> Chosen:
    if source.part is not None:
        return Chosen(_named(source, file, found, source.part), found, model)
    candidates = [candidate(n, d, model) for n, d in found.items() if is_matrix(d)]
    one = likely(candidates)
    if one is None:
        raise FormatError(
            f"one 2-D dataset of floats is needed unless member= (--member) names one, received "
            f"{candidates_described(candidates)}{links_of(file)}",
            path=source.name,
        )
    note = None
    if len(candidates) > 1:
        note = (
            f"{one.name} is taken as the one matrix of an embedding layer; member= (--member) "
            f"names another"
        )
    return Chosen(matrix_of(source, found[one.name]), found, model, note=note)
