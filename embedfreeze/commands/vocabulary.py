"""`embedfreeze vocabulary`: the tokens of a corpus, and how often they occur."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from embedfreeze.batch.corpus import CORPUS_FORMATS, Corpus
from embedfreeze.batch.counting import count_corpus
from embedfreeze.commands.arguments import add_json, count, positive
from embedfreeze.commands.parsing import describe, did_you_mean, options_of
from embedfreeze.commands.terminal import show
from embedfreeze.errors import FileError, VocabularyError
from embedfreeze.files import check_output, is_remote, refuse_input
from embedfreeze.plainlines import counted
from embedfreeze.splitters import (
    PUNCTUATION,
    WHITE_SPACE,
    Splitter,
    SplitterLike,
    TokenizerSplitter,
)
from embedfreeze.vocabularies.lines import read_bytes
from embedfreeze.vocabulary import Vocabulary

__all__ = ["add_corpus", "add_options", "add_splitter", "corpus_of", "place", "splitter_of"]

HALF = re.compile("[\ud800-\udfff]")
FUNCTION = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")


def place(text: str) -> str | int:
    """A column by name, or by place from 0."""
    return int(text) if text.isascii() and text.isdigit() else text


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """Options of the texts that are read; `corpus_of` gathers them."""
    parser.add_argument("corpus", metavar="CORPUS", nargs="+", help="files, or patterns of names")
    group = options_of(parser, "what is read")
    group.add_argument("--format", choices=CORPUS_FORMATS, help="default: by each file's name")
    group.add_argument(
        "--column",
        "--field",
        dest="column",
        type=place,
        metavar="NAME",
        help="of the texts in CSV, TSV, Parquet or JSON lines, by name or place; default: text",
    )
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="CSV and TSV begin with names; default: unless places are given",
    )
    group.add_argument(
        "--on-bad-record", choices=["error", "skip"], default="error", help="default: error"
    )
    group.add_argument("--processes", type=positive, metavar="N", help="default: all cores")


def add_splitter(parser: argparse.ArgumentParser, default: str | None = "keras") -> None:
    """Options of what cuts texts into tokens, for `splitter_of`."""
    group = options_of(parser, "how texts are cut into tokens")
    group.add_argument(
        "--tokenizer",
        metavar="HOW",
        default=default,
        help="keras (lower-case, without punctuation, at white space), whitespace, a Hugging Face "
        "tokenizer.json, or MODULE:FUNCTION; default: " + (default or "that of the vocabulary"),
    )
    group.add_argument(
        "--separators",
        metavar="EXPRESSION",
        help="a regular expression of what stands between tokens, in place of white space",
    )
    group.add_argument(
        "--lowercase", action=argparse.BooleanOptionalAction, help="default: as --tokenizer does"
    )


def corpus_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a corpus, by name."""
    names = ("format", "column", "header", "on_bad_record", "processes")
    return {name: getattr(options, name) for name in names}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Count the tokens of your texts, and write them by how often they occur.",
        "vocabulary 'texts/*.txt' -o words.txt --min-count 5",
        "vocabulary train.csv --column review -o words.json --max-size 9999",
        "vocabulary wiki.jsonl --tokenizer tokenizer.json -o words.txt",
    )
    add_corpus(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="DST",
        required=True,
        help=".txt (a token a line; counts and settings beside it) or .json",
    )
    add_splitter(parser)
    kept = options_of(parser, "which tokens are kept")
    kept.add_argument(
        "--min-count", type=count, default=1, metavar="N", help="those at least as frequent"
    )
    kept.add_argument(
        "--max-size", type=positive, metavar="N", help="at most so many, the most frequent"
    )
    kept.add_argument("--padding", metavar="TOKEN", default="", help="default: ''")
    kept.add_argument("--unknown", metavar="TOKEN", default="[UNK]", help="default: [UNK]")
    parser.add_argument("--force", action="store_true", help="replace DST if it exists")
    add_json(parser)
    parser.set_defaults(run=_vocabulary)


def _vocabulary(options: argparse.Namespace) -> None:
    Corpus.of(options.corpus)  # what is not there is told first
    check_output(options.output, overwrite=options.force)
    refuse_input(options.output, *options.corpus)
    splitter = splitter_of(options.tokenizer, options.separators, options.lowercase)
    counts = count_corpus(
        options.corpus,
        splitter=splitter,
        min_count=options.min_count,
        max_size=options.max_size,
        **corpus_of(options),
    )
    kept = _spellable(counts)
    vocabulary = Vocabulary.from_counts(
        kept, splitter=splitter, padding=options.padding, unknown=options.unknown
    )
    _, *beside = vocabulary.save(options.output, overwrite=options.force)
    occurrences = sum(kept.values())
    told = (
        f"{options.output}: {len(kept):,} of {counts.n_types:,} tokens, which are "
        f"{occurrences / max(1, counts.n_tokens):.1%} of {counts.n_tokens:,} in "
        f"{counted(counts.n_texts, 'text')}"
    )
    if beside:
        told += f"\n{beside[0]}: its counts, special tokens and splitter; keep both files together"
    numbers = ("n_types", "n_tokens", "n_texts", "skipped")
    found = {name: getattr(counts, name) for name in numbers}
    show(
        options,
        told,
        {
            "target": options.output,
            "settings": beside[0] if beside else None,
            "tokens": len(kept),
            "occurrences": occurrences,
            **found,
        },
    )


def _spellable(counts: Mapping[str, int]) -> Mapping[str, int]:
    """The tokens that a file can hold: JSON may have half of a character, of a cut emoji, say."""
    halves = [token for token in counts if not token.isascii() and HALF.search(token)]
    if not halves:
        return counts
    warnings.warn(
        f"{counted(len(halves), 'token')} with half of a character left out, the first: "
        f"{halves[0]!r}",
        stacklevel=2,
    )
    left_out = set(halves)
    return {token: count for token, count in counts.items() if token not in left_out}


def splitter_of(how: str, separators: str | None, lowercase: bool | None) -> SplitterLike:
    """What cuts texts, as the options of a command say.

    Raises
    ------
    FileError
        There is no such tokenizer.json.
    VocabularyError
        It is none, there is no such function, or options contradict each other.
    """
    if how in ("keras", "whitespace"):
        lower = how == "keras" if lowercase is None else lowercase
        delete = PUNCTUATION if how == "keras" else None
        return Splitter(lower, delete, WHITE_SPACE if separators is None else separators)
    if separators is not None or lowercase is not None:
        raise ValueError(
            f"--separators and --lowercase change what keras and whitespace do, received "
            f"--tokenizer {how}: leave them out"
        )
    if (function := FUNCTION.fullmatch(how)) is not None:
        return _function(*function.groups())
    if not is_remote(how) and not os.path.lexists(how):
        near = did_you_mean(how, ("keras", "whitespace"))
        raise FileError(
            f"--tokenizer must be keras, whitespace, a tokenizer.json or MODULE:FUNCTION, received "
            f"{how!r}, and there is no file of that name{near}"
        )
    tokenizer = TokenizerSplitter(read_bytes(how).decode("utf-8", "replace"))
    try:
        tokenizer("")
    except VocabularyError:
        raise
    except Exception as error:
        raise VocabularyError(
            f"--tokenizer must be keras, whitespace, a tokenizer.json or MODULE:FUNCTION, received "
            f"{how}: {error}"
        ) from error
    return tokenizer


def _function(module: str, name: str) -> SplitterLike:
    sys.path.insert(0, os.getcwd())  # as `python -m` has it
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise VocabularyError(
            f"--tokenizer {module}:{name} must be a function of a module: {error}"
        ) from error
    if not callable(found):
        raise VocabularyError(f"--tokenizer {module}:{name} must be a function, received {found!r}")
    return cast(SplitterLike, found)
