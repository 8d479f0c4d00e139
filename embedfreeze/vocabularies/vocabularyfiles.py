"""Files that hold a vocabulary: lists of tokens in several formats, and our own JSON."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embedfreeze.errors import EmbedFreezeError, FormatError, VocabularyError
from embedfreeze.files import PathLike, atomic_files, is_remote, name_of, split_packed
from embedfreeze.sealed import sha256
from embedfreeze.vocabularies.lines import decode, read_bytes, read_lines
from embedfreeze.vocabularies.listed import Listed
from embedfreeze.vocabularies.tables import Columns, read_csv, read_tsv

__all__ = ["read_file", "warn_of_no_settings", "write_file"]

FORMAT_NAME = "embedfreeze.vocabulary"
SETTINGS_NAME = "embedfreeze.vocabulary-settings"
SETTINGS_SUFFIX = ".settings.json"
FORMAT_VERSION = 1


def read_file(path: PathLike, format: str | None, columns: Columns) -> Listed | Mapping[str, Any]:
    """The tokens that a file lists, or the content of a vocabulary that was saved as JSON.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        Its content is not what its format asks for.
    VocabularyError
        A token stands at two places.
    ValueError
        There is no such format.
    """
    name = os.fspath(path)
    if format is not None and format not in _FORMATS:
        raise ValueError(f"format must be one of {list(_FORMATS)}, received {format!r}")
    format = _extension(name_of(path)) if format is None else format
    if columns != Columns() and format not in ("csv", "tsv"):
        raise ValueError(f"only CSV and TSV files have columns to name, received {name!r}")
    return _FORMATS.get(format, _read_text)(name, columns)


def _extension(name: str) -> str:
    return os.path.splitext(split_packed(name)[0].lower())[1].removeprefix(".")


def _read_text(path: str, _: Columns) -> Listed:
    lines = read_lines(path)
    tokens = [decode(line, i, path) for i, line in enumerate(lines, start=1)]
    settings = _read_settings(path, tokens)
    return Listed("line", tokens, range(1, len(tokens) + 1), settings=settings)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, repeated names kept."""


def _read_json(path: str, _: Columns) -> Listed | Mapping[str, Any]:
    data = read_bytes(path)
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"the file must be JSON: {error.msg}", path=path, line=error.lineno
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError("JSON must be UTF-8", path=path, offset=error.start) from error
    except RecursionError as error:
        raise FormatError("JSON must not be nested so deep", path=path) from error
    if isinstance(found, _Pairs):
        return _json_object(found, path)
    if isinstance(found, list):
        return _json_listed([(token, None) for token in found], None, path)
    raise _not_tokens(f"{found!r:.60}", path)


def _json_object(pairs: _Pairs, path: str) -> Listed | Mapping[str, Any]:
    if ("format", FORMAT_NAME) in pairs:
        return _saved(pairs, path)
    if any(isinstance(value, list) for _, value in pairs):
        names = ", ".join(repr(name) for name, _ in pairs[:5])
        raise _not_tokens(f"an object with {names}", path)
    return _json_listed(pairs, [i for _, i in pairs], path)


def _not_tokens(found: str, path: str) -> FormatError:
    return FormatError(
        "the JSON of a vocabulary is a list of tokens, a map of tokens to ids, or what "
        f"Vocabulary.save wrote, received {found}: read a tokenizer.json with "
        "Vocabulary.from_tokenizer",
        path=path,
    )


def _json_listed(pairs: Sequence[tuple[Any, Any]], ids: list[Any] | None, path: str) -> Listed:
    tokens = [token for token, _ in pairs]
    _check_tokens(tokens, path)
    return Listed("item", tokens, range(1, len(tokens) + 1), ids)


def _check_tokens(tokens: Sequence[Any], path: str) -> None:
    for place, token in enumerate(tokens, start=1):
        if not isinstance(token, str):
            raise FormatError(
                f"tokens must be strings, received {token!r} as item {place}", path=path
            )
        try:
            token.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise FormatError(
                f"tokens must be Unicode text, received half a surrogate pair: {token!r}, item "
                f"{place}",
                path=path,
            ) from error


def _saved(pairs: _Pairs, path: str) -> Mapping[str, Any]:
    found: dict[str, Any] = _plain(pairs)
    if found.get("version") != FORMAT_VERSION:
        raise FormatError(
            f"this version of embedfreeze reads version {FORMAT_VERSION} of a saved vocabulary, "
            f"received {found.get('version')!r}: read it with the version that wrote it",
            path=path,
        )
    tokens = found.get("tokens", [])
    if not isinstance(tokens, list):
        raise VocabularyError(
            "a saved vocabulary has tokens, counts and settings, and its tokens are a list, "
            f"received {f'{tokens!r}':.60}: save it again"
        )
    _check_tokens(tokens, path)
    return found


def _plain(value: Any) -> Any:
    """Objects of JSON as dicts, inner ones too."""
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return value


def write_file(
    path: PathLike,
    tokens: Sequence[str],
    settings: Mapping[str, Any],
    *,
    overwrite: bool,
) -> tuple[str, ...]:
    """Write a vocabulary: all of it to ``.json``, its tokens to ``.txt``.

    Where it has counts, a text's settings go into a file beside it. Returns the names of what was
    written.

    Raises
    ------
    FileError
        A target exists and `overwrite` is false, or it cannot be written.
    VocabularyError
        The name ends otherwise, text cannot hold a token, or JSON cannot hold the splitter.
    """
    name = os.fspath(path)
    extension = _extension(name)
    if extension not in ("json", "txt"):
        raise VocabularyError(
            f"a vocabulary is saved as .json (all of it) or .txt (its tokens), received {name!r}"
        )
    described = {"version": FORMAT_VERSION, **settings}
    if extension == "json":
        if settings["splitter"] is None:
            raise VocabularyError(
                "a splitter that is saved must be an embedfreeze.Splitter, received a callable: "
                "save as .txt, which leaves it out"
            )
        data = _json_bytes({"format": FORMAT_NAME, "tokens": list(tokens), **described})
    else:
        data = _text_bytes(tokens)
    beside = _settings_path(name)
    has_settings = extension == "txt" and settings["counts"] is not None
    with atomic_files(path, overwrite=overwrite) as output:
        if has_settings:
            kept = {"format": SETTINGS_NAME, "tokens": _digest(tokens), **described}
            output.beside(os.path.basename(beside)).write(_json_bytes(kept))
        output.file.write(data)
    if extension == "txt" and not has_settings and _is_settings(beside):
        os.unlink(beside)  # of the vocabulary that was replaced
    return (name, beside) if has_settings else (name,)


def warn_of_no_settings(path: PathLike, depth: int) -> None:
    """Warn of a text that begins as `write_file` writes it and has no settings beside it."""
    beside = os.path.basename(_settings_path(os.fspath(path)))
    warnings.warn(
        f"{path}: begins with '' and '[UNK]' as a saved vocabulary does, and {beside} is not "
        "beside it: if there is one, move it there, else splitter and counts are those that you "
        "give, with splitter= and counts=",
        stacklevel=depth + 1,
    )


def _settings_path(name: str) -> str:
    return os.path.splitext(split_packed(name)[0])[0] + SETTINGS_SUFFIX


def _is_settings(name: str) -> bool:
    try:
        return bool(json.loads(read_bytes(name))["format"] == SETTINGS_NAME)
    except (EmbedFreezeError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _digest(tokens: Iterable[str]) -> str:
    return sha256("\n".join(tokens).encode("utf-8", "surrogateescape")).hexdigest()


def _read_settings(path: str, tokens: Sequence[str]) -> dict[str, Any] | None:
    """What `write_file` wrote beside a text of tokens, if there is such a file.

    Raises
    ------
    FormatError
        It is something else, or belongs to other tokens.
    """
    name, text = _settings_path(path), os.path.basename(path)
    if is_remote(name) or not os.path.isfile(name):
        return None
    try:
        found: dict[str, Any] = json.loads(read_bytes(name))
        if (found["format"], found["version"]) != (SETTINGS_NAME, FORMAT_VERSION):
            raise ValueError(f"{found['format']!r}, version {found['version']!r}")
        same = found["tokens"] == _digest(tokens)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            f"what stands beside {text} must be the settings of that vocabulary, received {error}: "
            f"move it away",
            path=name,
        ) from error
    if not same:
        raise FormatError(
            f"the settings belong to other tokens than {text} has now: put its tokens back, or "
            f"make both files anew; whoever removes the settings loses counts, splitter and the "
            f"names of the special tokens",
            path=name,
        )
    return found


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"


def _text_bytes(tokens: Sequence[str]) -> bytes:
    for i, token in enumerate(tokens):
        if "\n" in token or token.endswith("\r") or (i == 0 and token.startswith("\ufeff")):
            raise _not_text(token, i)
    try:
        return "".join(f"{token}\n" for token in tokens).encode()
    except UnicodeEncodeError as error:
        i = str(error.object).count("\n", 0, error.start)
        raise _not_text(tokens[i], i) from error


def _not_text(token: str, i: int) -> VocabularyError:
    return VocabularyError(
        "a line of UTF-8 text cannot hold a token with a line feed, with a carriage return at its "
        "end, with bytes that are not UTF-8, or, on the first line, with a byte order mark; "
        f"received {token!r} (id {i}): save as .json"
    )


_FORMATS = {
    "txt": _read_text,
    "csv": read_csv,
    "tsv": read_tsv,
    "json": _read_json,
}
