"""A saved model, or a store: every byte of its tables is hashed, and no model is built."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from zipfile import is_zipfile

import numpy as np

from embedfreeze import formats
from embedfreeze.checkpoints import Bundle
from embedfreeze.errors import (
    EmbedFreezeError,
    FileError,
    FormatError,
    FrozenBytesChanged,
    FrozenError,
)
from embedfreeze.files import PathLike, open_source
from embedfreeze.formats.stores.header import sniff
from embedfreeze.proof import FreezeProof, TableProof, kept_proof
from embedfreeze.savedfiles import (
    CONFIG,
    SERVED,
    WEIGHTS,
    KerasFiles,
    SavedTable,
    config_tables,
    damaged_parts,
    no_saved_model,
    weights_tables,
)
from embedfreeze.sealed import block_digests, combine_digests
from embedfreeze.search import Search, chosen_table, find_store
from embedfreeze.servedrecord import ServedTable, read_served
from embedfreeze.table import Table

__all__ = ["verify_saved"]

STORE = ".safetensors"


def verify_saved(
    path: PathLike, *, table: object = None, search: PathLike | Sequence[PathLike] = ()
) -> FreezeProof:
    """Check a saved model against its tables, or a store; every byte of the tables is hashed.

    Parameters
    ----------
    path : path
        A ``.keras`` or ``.weights.h5`` file, the folder of a SavedModel, or a store, which its
        content tells.
    table, search
        Where the tables of a model are, as for `embedfreeze.load_model`. What a file holds itself
        is checked there; a table that is given must then be the same.

    Returns
    -------
    FreezeProof
        With one entry for each table; that of a store has no layer.

    Raises
    ------
    ValueError
        `table` or `search` is given with a store.
    FileError
        The file is no saved model and no store, or damaged: such as a store in which what lies
        beside the matrix has its recorded digest no longer.
    FrozenError
        There is no table in the model, or none is found that has the recorded digests (of those in
        stores it is `TableNotFound`); or a proof that was kept with the model speaks of another.
    FrozenBytesChanged
        A table has its recorded digest no longer; with layer and block.
    """
    name = os.fspath(path)
    if _is_store(name):
        if table is not None or search:
            raise ValueError(
                "table= and search= (--table, --search) say where the tables of a saved model are, "
                "received a store: leave them out"
            )
        return _verify_store(name)
    where = Search.of(path, table, search)
    if os.path.isdir(name) and not os.path.exists(os.path.join(name, CONFIG)):
        tables = _verify_served(name, where.given)
    else:
        tables = _verify_files(name, where)
    _refuse_other_proof(name, tables)
    return FreezeProof(name, tuple(tables))


def _is_store(name: str) -> bool:
    """Whether a file is a store by its content, or by its name one that is missing or damaged."""
    if os.path.isdir(name):
        return False
    if name.endswith(STORE) or not os.path.isfile(name) or is_zipfile(name):
        return name.endswith(STORE)
    with contextlib.suppress(EmbedFreezeError), open_source(name) as source:
        return sniff(source)
    return False


def _verify_store(name: str) -> FreezeProof:
    table = Table.of(formats.read(name, format="store"))
    table.sealed.verify_store(name)
    return FreezeProof(name, (TableProof.of(None, table, "deep"),))


def _refuse_other_proof(name: str, tables: Sequence[TableProof]) -> None:
    """`FrozenError` if the proof that was kept with the model speaks of other tables."""
    kept = kept_proof(name)
    if kept is None:
        return
    for table in tables:
        of_layer = {one.digest for one in kept.tables if one.layer == table.layer}
        digests = of_layer or {one.digest for one in kept.tables}
        if table.digest not in digests:
            raise FrozenError(
                f"{name}: layer {table.layer!r} has a table with the digest {table.digest}, "
                f"received a proof beside it that speaks of {', '.join(sorted(digests))}: take "
                "both from one place; or delete the proof, if another model was saved there since"
            )


# ---- files of Keras


@dataclass
class _Content:
    """What the file of a model says of its tables, and those that it holds.

    Attributes
    ----------
    told : list of SavedTable
        By the description of the model and by its weights; either may know less than the other.
    embedded : dict
        The tables inside, by their digests and those of their tokens.
    """

    told: list[SavedTable]
    embedded: dict[tuple[str, str], Table] = field(default_factory=dict)


def _verify_files(name: str, where: Search) -> list[TableProof]:
    with tempfile.TemporaryDirectory() as folder:
        with damaged_parts(name):
            content = _read(name, folder)
        told = {(t.layer, t.record.digest, t.record.tokens_digest): t for t in content.told}
        if not told:
            raise _no_table(name)
        return [_verify_table(name, t, where, content.embedded) for t in told.values()]


def _no_table(name: str) -> FrozenError:
    return FrozenError(
        f"{name}: a saved model that is verified must tell of a table, received one without: save "
        "a model with a FrozenEmbedding"
    )


def _read(name: str, folder: str) -> _Content:
    """The content of a file, with copies of its tables mapped from a temporary folder."""
    if os.path.isdir(name) or is_zipfile(name):
        with contextlib.closing(KerasFiles(name)) as files:
            told = config_tables(files.config())
            weights = files.extract(WEIGHTS, os.path.join(folder, WEIGHTS))
            return _Content(told + weights_tables(weights), _embedded(files, folder))
    if name.endswith(".weights.h5"):
        return _Content(weights_tables(name))
    if not os.path.exists(name):
        raise FileError("cannot be read: no such file; give a saved model", path=name)
    raise no_saved_model(
        name, "a .keras or .weights.h5 file, the folder of a SavedModel, or a store"
    )


def _embedded(files: KerasFiles, folder: str) -> dict[tuple[str, str], Table]:
    found = {}
    for number, name in enumerate(files.stores):
        copy = files.extract(name, os.path.join(folder, f"{number}.safetensors"))
        try:
            table = Table.of(formats.read(copy, format="store"))
        except EmbedFreezeError as error:
            said = str(error).removeprefix(f"{copy}: ")
            raise FormatError(said, path=f"{files.path}:{name}") from error
        found[table.record.digest, table.record.tokens_digest] = table
    return found


def _verify_table(
    name: str, saved: SavedTable, where: Search, embedded: dict[tuple[str, str], Table]
) -> TableProof:
    record = saved.record
    given = chosen_table(record, where.given) if where.given else None
    if record.path is not None and given is None:
        given = find_store(record, where)
    own = None if record.path is not None else embedded.get(record.key[:2])
    table = own or given
    if table is None:
        raise FrozenError(
            f"{name}: layer {saved.layer!r} needs the table with the digest {record.digest} and "
            f"tokens with the digest {record.tokens_digest}, which the file does not hold: give "
            "it with table=..."
        )
    _verify_bytes(name, saved.layer, table)
    if own is not None:
        return TableProof.inside(saved.layer, record)
    return TableProof.of(saved.layer, table, "deep")


def _verify_bytes(name: str, layer: str | None, table: Table) -> None:
    try:
        table.sealed.verify(deep=True)
    except FrozenBytesChanged as error:
        raise _changed(name, layer, str(error), error.block) from error


def _changed(name: str, layer: str | None, said: str, block: int | None) -> FrozenBytesChanged:
    return FrozenBytesChanged(
        f"the table of layer {layer!r} in {name} must keep its bytes: {said}",
        layer=layer,
        block=block,
    )


# ---- SavedModel, which holds tables by value


def _verify_served(name: str, given: Sequence[Table]) -> list[TableProof]:
    if not os.path.exists(os.path.join(name, SERVED)):
        raise FileError(
            f"the folder of a saved model must hold {SERVED} or {CONFIG}, received one "
            "without: name the folder that was exported",
            path=name,
        )
    tables = read_served(name)
    if tables is None:
        if not given:
            raise FrozenError(
                f"{name}: nothing tells which tables this SavedModel was exported with, as only "
                "FrozenModel.export writes that down: give them with table=..."
            )
        tables = [ServedTable.of(None, table) for table in given]
    if not tables:
        raise _no_table(name)
    with damaged_parts(name):
        bundle = Bundle(os.path.join(name, "variables", "variables"))
        return [_verify_variable(name, served, bundle, given) for served in tables]


def _verify_variable(
    name: str, served: ServedTable, bundle: Bundle, given: Sequence[Table]
) -> TableProof:
    record = served.record
    if given:
        chosen_table(record, given)
    found = [
        block_digests(bundle.bytes_of(stored)) for stored in bundle.of_shape(tuple(record.shape))
    ]
    alike = [blocks for blocks in found if blocks.shape == served.blocks.shape]
    if not alike:
        raise FrozenError(
            f"{name}: layer {served.layer!r} needs a variable {record.shape} of {record.dtype}, "
            "received none in the checkpoint: export the model again"
        )
    if all(combine_digests(blocks) != record.digest for blocks in alike):
        different = [np.flatnonzero((blocks != served.blocks).any(axis=1)) for blocks in alike]
        block = int(min(different, key=len)[0])
        said = f"block {block} does not have its recorded digest"
        raise _changed(name, served.layer, said, block)
    return TableProof.inside(served.layer, record)
