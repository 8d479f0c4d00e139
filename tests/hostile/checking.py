"""Calls `read`, `load`, `inspect` and `convert` on a file and holds them to its entry's outcome."""

import io
import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from entries import Entry, Outcome, Read, Refused
from samples import assert_is, bits, pipe, put

import embedfreeze as ef
from embedfreeze.cli import STATUSES, main
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.formats import FORMATS

SECONDS = 20
FLAGS = {
    "format": "--from",
    "member": "--member",
    "tokens": "--tokens",
    "limit": "--limit",
    "unicode_errors": "--unicode-errors",
    "on_bad_row": "--on-bad-row",
    "on_duplicate": "--on-duplicate",
    "spool_limit": "--spool-limit",
}
INSPECTED = ("format", "member", "tokens", "spool_limit")  # the options that `inspect` has, too
OLD = b"what was there before"
TARGETS = ", ".join(
    f"{end} ({name})" for name, f in FORMATS.items() if f.writer for end in f.writer.suffixes
)


@dataclass(frozen=True)
class Place:
    """The folders of one check: the entry's file in one, targets in the other."""

    folder: Path
    out: Path

    @classmethod
    def under(cls, root: Path) -> "Place":
        place = cls(root / "in", root / "out")
        place.folder.mkdir()
        place.out.mkdir()
        return place

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder)) + sorted(os.listdir(self.out))

    def fits(self, expected: str, received: str, path: Path) -> bool:
        """Is this the message, whatever other libraries say where it has `{...}`?"""
        given = {"path": path, "out": self.out, "formats": ", ".join(FORMATS), "targets": TARGETS}
        for name, found in given.items():
            expected = expected.replace(f"{{{name}}}", str(found))
        pattern = ".*".join(map(re.escape, expected.split("{...}")))
        return re.fullmatch(pattern, received, re.DOTALL) is not None


@contextmanager
def bounded() -> Iterator[None]:
    """An error if it takes long, and if a file stays open."""

    def late(*_: object) -> None:
        raise AssertionError(f"took more than {SECONDS} seconds")

    before = len(os.listdir("/proc/self/fd"))
    earlier = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    assert len(os.listdir("/proc/self/fd")) <= before, "a file stays open"


def attempt(call: Callable[[], object], place: Place, path: Path, expected: Outcome) -> Any:
    """What a call gives, if that is what is expected of it, else an AssertionError."""
    names = place.names()
    raised, result = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except (EmbedFreezeError, TypeError) as error:
            raised = type(error), str(error)
    assert place.names() == names, "a file was left behind"
    told = [str(warning.message) for warning in caught]
    if isinstance(expected, Refused):
        assert raised is not None, f"not refused: {result!r}"
        assert raised[0] is expected.kind, raised
        assert place.fits(expected.message, raised[1], path), raised[1]
        return None
    assert raised is None, raised
    assert len(told) == len(expected.warnings), told
    for message, received in zip(expected.warnings, told, strict=True):
        assert place.fits(message, received, path), received
    return result


def check_read(entry: Entry, place: Place, path: Path) -> None:
    """Read, look at each token, and look each token up: a store does these when they are needed."""

    def read() -> tuple[ef.Embeddings, list[int]]:
        e = ef.read(path, **entry.options)
        return e, e.tokens.find(list(e.tokens)).tolist()

    found = attempt(read, place, path, entry.outcome)
    if isinstance(entry.outcome, Read):
        assert_is(found[0], entry.outcome.tokens, entry.outcome.matrix)
        if entry.options.get("unicode_errors") != "replace":  # what is shown is not what it is
            assert found[1] == list(range(len(found[0])))


def check_load(entry: Entry, place: Place, path: Path) -> None:
    expected = entry.load or entry.outcome
    words, matrix = ["king", "queen"], np.zeros((2, 2), np.float32)
    if isinstance(expected, Read) and expected.tokens:
        spelled = [token.decode("utf-8", "surrogateescape") for token in expected.tokens]
        chosen = sorted({0, len(spelled) // 2, len(spelled) - 1})
        words, matrix = [spelled[i] for i in chosen], expected.matrix[chosen]
    v = ef.Vocabulary(words, padding=None, unknown=None)
    found = attempt(
        lambda: ef.load(path, v, match=("exact",), **entry.options), place, path, expected
    )
    if isinstance(expected, Read):
        assert bits(found.matrix) == bits(matrix)


def check_inspect(entry: Entry, place: Place, path: Path) -> None:
    expected = entry.inspect or entry.outcome
    options = {name: value for name, value in entry.options.items() if name in INSPECTED}
    if isinstance(expected, Read):
        found = attempt(lambda: ef.inspect(path, **options), place, path, expected.quiet())
        assert found.dim == expected.matrix.shape[1]
        first = found.first_tokens[0].encode("utf-8", "surrogateescape")
        assert first == expected.tokens[0].decode("utf-8", "backslashreplace").encode()
    else:
        attempt(lambda: ef.inspect(path, **options), place, path, expected)


def check_convert(entry: Entry, place: Place, path: Path) -> None:
    expected = entry.convert or entry.outcome
    target = place.out / "target.safetensors"
    arguments = ["convert", str(path), str(target)]
    for name, value in entry.options.items():
        arguments += [FLAGS[name], str(value)]
    names = place.names()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        status = main(arguments)
    lines = err.getvalue().splitlines()
    if isinstance(expected, Refused):
        assert place.names() == names, "a file was left behind"
        assert place.fits(f"embedfreeze: error: {expected.message}", lines[-1], path), lines
        by_kind = next(s for kind, s in STATUSES.items() if issubclass(expected.kind, kind))
        assert status == (entry.status or by_kind)
        assert out.getvalue() == ""
        return
    assert status == 0, lines
    assert len(lines) == len(expected.warnings), lines
    for message, received in zip(expected.warnings, lines, strict=True):
        assert place.fits(f"embedfreeze: warning: {message}", received, path), received
    stored = ef.read(target, unicode_errors=entry.options.get("unicode_errors", "strict"))
    assert_is(stored, expected.tokens, expected.matrix)
    del stored
    target.unlink()
    assert place.names() == names, "more than the target was left behind"


def check_only(entry: Entry, place: Place, path: Path) -> None:
    """The one call of an entry; it leaves the file of another in peace."""
    put(place.out / "old", OLD)
    with bounded():
        attempt(lambda: entry.only(path, place.out), place, path, entry.outcome)
    assert (place.out / "old").read_bytes() == OLD


CHECKS = (check_read, check_load, check_inspect, check_convert)


Around = Callable[[Place], AbstractContextManager[object]]


def check(entry: Entry, root: Path, around: Around = nullcontext) -> None:
    """All that the catalogue promises of an entry, in an empty folder.

    `around` makes what the entry needs (little room, for example) once its file is there.
    """
    place = Place.under(root)
    path = entry.make(place.folder)
    with around(place):
        if entry.only is not None:
            check_only(entry, place, path)
            return
        for run in CHECKS:
            if entry.piped:
                with pipe(place.folder / run.__name__, path.read_bytes()) as fifo, bounded():
                    run(entry, place, fifo)
            else:
                with bounded():
                    run(entry, place, path)
