"""From a corpus to features: ids or pooled vectors of each text, in shards of a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np

from embedfreeze.align import AlignedEmbeddings
from embedfreeze.batch.corpus import Corpus
from embedfreeze.batch.engines import ENGINES, Engine, Run, running
from embedfreeze.batch.features import FEATURES, Features, open_table, part_tasks
from embedfreeze.batch.jobfolder import TABLE, WEIGHTS, JobFolder, ShardRecord
from embedfreeze.batch.manifest import Manifest
from embedfreeze.batch.pooled import POOLINGS, Weighting, inverse_frequencies, sif_weights
from embedfreeze.batch.shards import SHARD_FORMATS
from embedfreeze.batch.texts import Columns, LabelDtype, OnBadRecord
from embedfreeze.batch.tokenids import TextIds
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import PathLike, atomic_output, name_of
from embedfreeze.formats import write
from embedfreeze.formats.arrays.npyheader import header_bytes
from embedfreeze.plainlines import counted
from embedfreeze.splitters import DEFAULT_SPLITTER, SplitterLike, splitter_config

__all__ = ["SHARD_BYTES", "WEIGHTS", "encode"]

SHARD_BYTES = 8 << 20


def encode(
    table: PathLike | Embeddings | AlignedEmbeddings,
    corpus: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    features: str = "mean",
    weights: Weighting | None = None,
    sif_a: float = 1e-3,
    max_length: int | None = None,
    output: str = "npy",
    splitter: SplitterLike | None = None,
    format: str | None = None,
    column: str | int | None = None,
    label: str | int | None = None,
    label_names: Sequence[str] | None = None,
    label_dtype: LabelDtype = "int64",
    id: str | int | None = None,
    header: bool | None = None,
    on_bad_record: OnBadRecord = "error",
    shard_bytes: int = SHARD_BYTES,
    processes: int | None = None,
    engine: Engine = "local",
    address: str | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Turn the texts of files into features, in shards that `embedfreeze.dataset` reads.

    What a frozen table gives for a text never changes, so that it is made once. A job that was
    killed, or stopped with Ctrl-C, is called again in the same way: it goes on behind the shards
    that are done, and its files are those of a job that nothing disturbed, byte for byte, however
    many processes work on it. A finished job does nothing.

    Parameters
    ----------
    table : path, Embeddings or AlignedEmbeddings
        Aligned to a vocabulary: a store, or what `load` gives. All processes map the same store;
        a table in memory is written to one in `out` for the time of the job.
    corpus : path or iterable of paths
        Files or patterns, as for `count_corpus`.
    out : path
        The folder, which is made if it is missing.
    features : {"mean", "sum", "sqrtn", "max", "ids", "ragged"}
        Pooled vectors, float32 [dim], in the column "features": as `build_model` pools, padding
        left out. Or ids, int32, in the column "ids": padded or cut to `max_length`, or of each
        text as many as it has.
    weights : {"tfidf", "sif"}, optional
        Multiply each vector by a weight of its token before it is pooled: its inverse document
        frequency in this corpus, ``ln((1 + n) / (1 + df)) + 1``, so that the mean is weighted by
        tf-idf; or ``a / (a + p)``, where p is its share of the counts of the vocabulary. They are
        kept as ``weights.npy``, float32 [rows], for `assemble`.
    sif_a : float
        The a of it.
    max_length : int, optional
        Tokens of a text beyond it are left out.
    output : {"npy", "npz", "parquet", "tfrecord", "hdf5"}
        What the shards are. "parquet" needs the extra ``arrow``.
    splitter : Splitter or callable, optional
        Cuts texts into tokens. Default: the vocabulary's.
    format, column, header, on_bad_record
        As for `count_corpus`.
    label, id : str or int, optional
        Columns that are carried along, as "label", a number, and "id", a text.
    label_names : sequence of str, optional
        What labels are called in the corpus; a label becomes its place among them.
    label_dtype : {"int64", "float32"}
        Of labels that are numbers.
    shard_bytes : int
        Bytes of a file (characters of one that is packed, or of CSV) that become a shard; of
        Parquet it is a row group.
    processes : int, optional
        Of the engine "local". Default: the cores that this process may run on.
    engine : {"local", "ray"}
        Processes of this machine, or a Ray cluster (extra ``ray``), whose nodes must see the
        corpus and `out` under the same paths. A node that does not see the table receives it once.
    address : str, optional
        Of an existing cluster, as for `ray.init`. Default: the one this process is connected to,
        else one that runs on this machine, else a new one. The process stays connected.
    overwrite : bool
        Replace what another job left in the folder.

    Returns
    -------
    Manifest
        Columns, shards, and what made them, as ``manifest.json`` in the folder has it.

    Raises
    ------
    FileError
        A file is missing or cannot be read or written; another process works on the folder; it
        holds another job and `overwrite` is false, or files of somebody else.
    FormatError
        A file is not what its format asks for, or a record is bad; there is no text at all.
    VocabularyError
        The table has no vocabulary; a token is not in one without an unknown token; or "sif"
        lacks counts.
    ValueError
        An argument is none of those above.

    Warns
    -----
    UserWarning
        Bad records were left out.

    Examples
    --------
    >>> import embedfreeze as ef
    >>> counts = ef.count_corpus("data/sentences.tsv", min_count=2)
    >>> aligned = ef.load("data/glove.6B.50d.sample.txt", ef.Vocabulary.from_counts(counts))
    >>> manifest = ef.encode(aligned, "data/sentences.tsv", "features", label="label")
    >>> manifest.texts, [column.name for column in manifest.columns]
    (3000, ['features', 'label'])
    """
    names = None if label_names is None else tuple(label_names)
    columns = Columns(column, label, id, header, names, label_dtype)
    source = Corpus.of(corpus, format=format, columns=columns, on_bad_record=on_bad_record)
    source.warn_of_header()
    wanted = _Wanted(features, weights, sif_a, max_length, output, shard_bytes)
    _check_engine(engine, address)
    rows, place = _table(table)
    if splitter is None and isinstance(table, AlignedEmbeddings):
        splitter = table.vocabulary.splitter
    text_ids = TextIds(rows, splitter)  # refuses a table without vocabulary before there is work
    path = name_of(out)
    job = {**wanted.described(), **_described(rows, source, text_ids.splitter)}
    key = hashlib.sha256(json.dumps([job, os.path.abspath(path)]).encode()).hexdigest()
    maker = Features(
        place or os.path.join(path, TABLE),
        rows.digest,
        key,
        source,
        splitter,
        features,
        max_length,
        os.path.join(path, WEIGHTS) if weights else None,
        output,
        path,
        shard_bytes,
    )
    found = maker.columns(rows.dim)
    with JobFolder.opened(path, job, output, found, overwrite=overwrite) as folder:
        if folder.finished is not None:
            return folder.finished
        with (
            _stored(rows, maker.table, place),
            running(maker, engine, processes=processes, address=address) as run,
        ):
            return _Job(maker, folder, rows, wanted, job, run).finished()


def _check_engine(engine: str, address: str | None) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, received {engine!r}")
    if address is not None and engine != "ray":
        raise ValueError(f'an address is that of engine="ray", received engine={engine!r}')


@dataclass(frozen=True)
class _Wanted:
    """What is to be made of texts."""

    features: str
    weights: Weighting | None
    sif_a: float
    max_length: int | None
    output: str
    shard_bytes: int

    def __post_init__(self) -> None:
        for name, allowed in (
            ("features", FEATURES),
            ("weights", (None, *get_args(Weighting))),
            ("output", tuple(SHARD_FORMATS)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(filter(None, allowed))}, received "
                    f"{getattr(self, name)!r}"
                )
        for name in ("max_length", "shard_bytes"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, received {number}")
        if self.features == "ids" and self.max_length is None:
            raise ValueError(
                "padded ids need a length: give max_length= (--max-length), or make "
                'features="ragged"'
            )
        if self.weights is not None and self.features not in POOLINGS:
            raise ValueError(
                f"weights are those of pooled vectors, {', '.join(POOLINGS)}, received "
                f"features={self.features!r}"
            )
        if not self.sif_a > 0:
            raise ValueError(f"sif_a must be above 0, received {self.sif_a}")

    def described(self) -> dict[str, Any]:
        """Ready for JSON."""
        described = asdict(self)
        if self.weights != "sif":
            del described["sif_a"]
        return described


def _described(rows: Embeddings, corpus: Corpus, splitter: SplitterLike) -> dict[str, Any]:
    """What tells a job from every other: table, texts, and how they are cut."""
    return {
        "table": {"digest": rows.digest, "tokens": rows.tokens.digest, "settings": rows.special},
        "splitter": splitter_config(splitter) or _described_function(splitter),
        "corpus": [_file(path) for path in corpus.paths],
        "format": corpus.format,
        "columns": asdict(corpus.columns),
        "on_bad_record": corpus.on_bad_record,
    }


def _described_function(splitter: SplitterLike) -> dict[str, str]:
    """What tells a function from others: what another process would be sent."""
    import cloudpickle

    named = f"{getattr(splitter, '__module__', '')}:{getattr(splitter, '__qualname__', '')}"
    return {"function": named, "digest": hashlib.sha256(cloudpickle.dumps(splitter)).hexdigest()}


def _file(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return {"path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return {"path": path}


def _table(table: PathLike | Embeddings | AlignedEmbeddings) -> tuple[Embeddings, str | None]:
    """The table, and the store that holds it, where one does."""
    if isinstance(table, AlignedEmbeddings):
        return table.to_embeddings(), table.sealed.path
    if isinstance(table, Embeddings):
        return table, None if table.sealed is None else table.sealed.path
    return open_table(name_of(table)), name_of(table)


@contextlib.contextmanager
def _stored(rows: Embeddings, path: str, place: str | None) -> Iterator[None]:
    """A table in memory is in a store of the folder, for the time of the job."""
    if place is not None:
        yield
        return
    special = rows.special
    if special is not None and special["splitter"] is None:  # each process is given it
        rows = replace(rows, special={**special, "splitter": splitter_config(DEFAULT_SPLITTER)})
    write(rows, path, format="store", overwrite=True)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _warn_of_skipped(records: list[ShardRecord]) -> None:
    firsts = [record.first_skipped for record in records if record.first_skipped]
    if firsts:
        skipped = sum(record.skipped for record in records)
        warnings.warn(
            f"{counted(skipped, 'bad record was', 'bad records were')} left out, the first: "
            f"{firsts[0]}",
            stacklevel=4,
        )


@dataclass(frozen=True)
class _Job:
    """A job under way in its folder."""

    maker: Features
    folder: JobFolder
    rows: Embeddings
    wanted: _Wanted
    job: dict[str, Any]
    run: Run

    def finished(self) -> Manifest:
        """Make all shards that are not done, and the manifest."""
        tasks = part_tasks(self.maker.corpus.parts(self.wanted.shard_bytes))
        if self.wanted.weights is not None and not os.path.exists(self.folder.file(WEIGHTS)):
            self._write_weights(tasks)
        done = frozenset(self.folder.done)
        with contextlib.closing(self.run("shards", tasks, done, "encode")) as results:
            for found in results:
                for record in found:
                    self.folder.record(record)
        if [_file(path) for path in self.maker.corpus.paths] != self.job["corpus"]:
            raise FileError(
                "a corpus must stay as it is while a job reads it, received one that was changed: "
                "pass overwrite=True (--force) to begin anew",
                path=self.folder.path,
            )
        records = self.folder.in_order()
        if not any(record.texts for record in records):
            raise FormatError(
                f"a corpus must have texts, received none in {', '.join(self.maker.corpus.paths)}"
            )
        _warn_of_skipped(records)
        return self.folder.finish(self.job)

    def _write_weights(self, tasks: list[Any]) -> None:
        if self.wanted.weights == "sif":
            weights = sif_weights(self.rows.alignment.counts, self.wanted.sif_a)
        else:
            texts, counts = 0, np.zeros(len(self.rows), np.int64)
            with contextlib.closing(
                self.run("texts_with", tasks, frozenset(), "weights")
            ) as results:
                for n, found, more in results:
                    texts += n
                    counts[found] += more
            weights = inverse_frequencies(counts, texts)
        with atomic_output(self.folder.file(WEIGHTS), overwrite=True) as file:
            file.write(header_bytes("float32", weights.shape))
            file.write(weights.data)  # `numpy.save` does not say why a file cannot be written
