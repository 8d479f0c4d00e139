"""The tokens of an embedding layer: a file that lists one for each row of its matrix."""

from __future__ import annotations

from embedfreeze.errors import FormatError
from embedfreeze.files import Source, name_of
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.side.tokens import listed_tokens, tokens_beside
from embedfreeze.tokens import Tokens

__all__ = ["layer_tokens"]

SPECIAL = ("", "[UNK]")  # the first rows, as TextVectorization has them


def layer_tokens(
    source: Source, rows: int, options: ReadOptions, located: str | None = None
) -> Tokens:
    """The tokens in the file that the caller names, or in the one beside the matrix.

    The matrix lies in the source, unless it is `located` in another file.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        There is none, or it does not have one token for each row.
    """
    found = tokens_beside(source, located) if options.tokens is None else options.tokens
    if found is None:
        raise FormatError(
            f"each row needs a token, and the file has none: name a file that lists {rows} tokens "
            f"with tokens= (--tokens), such as the lines of TextVectorization.get_vocabulary()",
            path=source.name,
        )
    tokens = listed_tokens(found, rows, options)
    if len(tokens) != rows:
        raise FormatError(
            f"each row needs a token, received {len(tokens)} tokens for {rows} rows: "
            f"{_remedy(rows - len(tokens))}",
            path=name_of(found),
        )
    return tokens


def _remedy(missing: int) -> str:
    if missing not in (1, 2):
        return "name another file with tokens= (--tokens)"
    first = " and ".join(map(repr, SPECIAL[-missing:]))
    return (
        f"an embedding layer has rows for padding and for unknown tokens before the others; if "
        f"these are the ones that miss, list them first (here {first}), as get_vocabulary() does"
    )
