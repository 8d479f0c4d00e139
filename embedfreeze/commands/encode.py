"""`embedfreeze encode`: the texts of a corpus as ids or pooled vectors, in shards of a folder."""

from __future__ import annotations

import argparse
import os
from typing import get_args

from embedfreeze.batch.encoding import SHARD_BYTES, encode
from embedfreeze.batch.engines import ENGINES
from embedfreeze.batch.features import FEATURES
from embedfreeze.batch.manifest import MANIFEST
from embedfreeze.batch.pooled import Weighting
from embedfreeze.batch.shards import SHARD_FORMATS
from embedfreeze.commands.arguments import add_json, bytes_of, positive, refuse_swapped
from embedfreeze.commands.parsing import describe
from embedfreeze.commands.terminal import show, tell
from embedfreeze.commands.vocabulary import add_corpus, add_splitter, corpus_of, place, splitter_of
from embedfreeze.plainlines import counted

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Turn your texts into ids or pooled vectors, in files to train on.",
        "encode table.safetensors 'texts/*.txt' -o features",
        "encode t.safetensors a.csv --column review --label stars -o out",
        "encode t.safetensors wiki.jsonl -o ids --features ragged",
    )
    parser.add_argument(
        "table", metavar="TABLE", help="a store aligned to a vocabulary, as embedfreeze align makes"
    )
    add_corpus(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="a folder; the same command again goes on with what is not done in it",
    )
    parser.add_argument(
        "--to", choices=[*SHARD_FORMATS], default="npy", help="format of the files; default: npy"
    )
    parser.add_argument(
        "--features",
        choices=FEATURES,
        default="mean",
        help="vectors pooled over the tokens of a text, ids padded to --max-length, or ragged ids; "
        "default: mean",
    )
    parser.add_argument(
        "--weights", choices=get_args(Weighting), help="multiply vectors before they are pooled"
    )
    parser.add_argument("--sif-a", type=float, default=1e-3, metavar="A", help="default: 0.001")
    parser.add_argument("--max-length", type=positive, metavar="N", help="tokens of a text")
    parser.add_argument("--label", type=place, metavar="NAME", help="a column carried along")
    parser.add_argument(
        "--label-names",
        metavar="NAMES",
        help="what labels are called, with commas between: the first becomes 0",
    )
    parser.add_argument(
        "--label-dtype", choices=["int64", "float32"], default="int64", help="default: int64"
    )
    parser.add_argument("--id", type=place, metavar="NAME", help="another column carried along")
    add_splitter(parser, default=None)
    parser.add_argument(
        "--shard-size",
        type=bytes_of,
        default=SHARD_BYTES,
        metavar="BYTES",
        help=f"of the corpus in a file; default: {SHARD_BYTES >> 20}M",
    )
    parser.add_argument("--engine", choices=ENGINES, default="local", help="default: local")
    parser.add_argument("--address", help="of a Ray cluster; default: one on this machine")
    parser.add_argument("--force", action="store_true", help="replace another job's files in OUT")
    add_json(parser)
    parser.set_defaults(run=_encode)


def _encode(options: argparse.Namespace) -> None:
    if options.tokenizer is not None:
        splitter = splitter_of(options.tokenizer, options.separators, options.lowercase)
    elif options.separators is not None or options.lowercase is not None:
        raise ValueError("--separators and --lowercase need --tokenizer keras or whitespace")
    else:
        splitter = None
    refuse_swapped(options.table, options.corpus[0])
    before = _finished_at(options.output)
    try:
        manifest = encode(
            options.table,
            options.corpus,
            options.output,
            features=options.features,
            weights=options.weights,
            sif_a=options.sif_a,
            max_length=options.max_length,
            output=options.to,
            splitter=splitter,
            label=options.label,
            label_names=None if options.label_names is None else options.label_names.split(","),
            label_dtype=options.label_dtype,
            id=options.id,
            shard_bytes=options.shard_size,
            engine=options.engine,
            address=options.address,
            overwrite=options.force,
            **corpus_of(options),
        )
    except KeyboardInterrupt:
        tell(f"embedfreeze: what is done stays in {options.output}: the same command goes on")
        raise
    columns = ", ".join(
        f"{column.name} {column.dtype}{list(column.shape) or ''}" for column in manifest.columns
    )
    already = before is not None and before == _finished_at(options.output)
    done = "already done, " if already else ""
    show(
        options,
        f"{options.output}: {done}{counted(manifest.texts, 'text')} in "
        f"{counted(len(manifest.shards), 'shard')}: {columns}",
        {
            "target": options.output,
            "format": manifest.output,
            "texts": manifest.texts,
            "skipped": sum(shard["skipped"] for shard in manifest.shards),
            "shards": len(manifest.shards),
            "columns": [column.to_dict() for column in manifest.columns],
        },
    )


def _finished_at(folder: str) -> int | None:
    """When the job of a folder was finished, if it was."""
    try:
        return os.stat(os.path.join(folder, MANIFEST)).st_mtime_ns
    except OSError:
        return None
