"""Options of a vocabulary, and of how its tokens find their rows."""

from __future__ import annotations

import argparse
from typing import Any

from embedfreeze.aligning.folds import FOLDS
from embedfreeze.commands.parsing import checked_choice, options_of
from embedfreeze.errors import VocabularyError
from embedfreeze.vocabulary import Vocabulary

__all__ = ["add_match", "add_vocabulary", "vocabulary_of"]


def add_vocabulary(parser: argparse.ArgumentParser, told: str) -> argparse._ArgumentGroup:
    """The vocabulary and its special tokens; `vocabulary_of` makes it."""
    words = options_of(parser, "the vocabulary")
    words.add_argument("--vocabulary", metavar="FILE", help=told)
    words.add_argument(
        "--tokenizer", action="store_true", help="the vocabulary is a Hugging Face tokenizer.json"
    )
    words.add_argument("--padding", metavar="TOKEN", help="default: '', or as the file says")
    words.add_argument("--unknown", metavar="TOKEN", help="default: [UNK], or as the file says")
    words.add_argument("--special", metavar="TOKEN", action="append", help="a further one")
    words.add_argument(
        "--special-listed",
        action="store_true",
        help="the special tokens stand in the list of tokens, with the ids of their places",
    )
    words.add_argument(
        "--no-special", action="store_true", help="no padding and no unknown token unless named"
    )
    return words


def vocabulary_of(path: str, options: argparse.Namespace) -> Vocabulary:
    """The vocabulary of a file, as the options say; `VocabularyError` for one without words."""
    make = Vocabulary.from_tokenizer if options.tokenizer else Vocabulary.from_file
    named = {name: getattr(options, name) for name in ("padding", "unknown", "special")}
    given: dict[str, Any] = {name: token for name, token in named.items() if token is not None}
    if options.special_listed:
        given["special_first"] = False
    special = {"padding": None, "unknown": None, **given} if options.no_special else given
    vocabulary = make(path, **special)
    if len(vocabulary) == len(vocabulary.special_tokens):
        raise VocabularyError(
            f"{path}: a vocabulary must have an ordinary token, received none: is this its file?"
        )
    return vocabulary


def add_match(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The match stages."""
    matching = options_of(parser, "how a token finds its row")
    matching.add_argument(
        "--match",
        type=_stages,
        default=("exact", "lower"),
        metavar="STAGE,...",
        help=f"in this order, joined by + where one follows another: {', '.join(FOLDS)}",
    )
    return matching


def _stages(text: str) -> tuple[str, ...]:
    stages = tuple(text.split(","))
    for stage in stages:
        for fold in stage.split("+"):
            checked_choice(fold, FOLDS)
    return stages
