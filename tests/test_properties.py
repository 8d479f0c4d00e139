"""What holds of any table, any file and any damage to one, tried with many of them.

None of these tests needs TensorFlow, and those of HDF5 are left out where there is no h5py, so that
the rest runs under the sanitizers too.
"""

import faulthandler
import gzip
import importlib
import importlib.util
import itertools
import json
import shutil
import struct
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import assert_is, bits, canonical, glove_bytes, put, spelled, table, word2vec_bytes

import embedfreeze as ef
from embedfreeze import files, storage
from embedfreeze.coveragerecord import record_of_coverage
from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.formats import word2vec
from embedfreeze.formats.hdf5 import generic as hdf5
from embedfreeze.formats.stores import store
from embedfreeze.formats.texts import text, writer
from embedfreeze.tokens import Tokens

align_module = importlib.import_module("embedfreeze.align")  # the package has a function `align`
HAS_H5PY = importlib.util.find_spec("h5py") is not None
needs_h5py = pytest.mark.skipif(not HAS_H5PY, reason="needs h5py")
HDF5 = pytest.param(".h5", marks=needs_h5py)
# What is odd about a random file is told in warnings, which the tests that want them record.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:embedfreeze")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes a new folder for each example."""
    root, numbers = tmp_path_factory.mktemp("examples"), itertools.count()

    def make() -> Path:
        folder = root / str(next(numbers))
        folder.mkdir()
        return folder

    return make


@pytest.fixture(scope="module", autouse=True)
def small_buffers() -> Iterator[None]:
    """Files are small here, and so need be what a stream is read into."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "STREAM_BYTES", 1 << 12)
        patch.setattr(word2vec, "BATCH_BYTES", 1 << 12)
        yield


# ---- any table, in any format --------------------------------------------------------------------

SPECIAL_BITS = [0, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001]
WORDS = st.integers(0, 2**32 - 1) | st.sampled_from(
    [b | s for b in SPECIAL_BITS for s in (0, 1 << 31)]
)
ANY_TOKENS = (
    st.text(max_size=8).map(str.encode)
    | st.text(" 0123.e-\r\t\ufeff\u0085a", max_size=8).map(str.encode)
    | st.sampled_from(["1 2", "a 1", "inf", "nan", "\n", "a\nb", "\r", "", " ", "2 1"]).map(
        str.encode
    )
    | st.sampled_from(
        [b"\x1f\x8b\x08", b"PK\x03\x04", b"PK\x05\x06", b"\x20" + b"\0" * 7 + b"{", b"\x80"]
    )
    | st.binary(max_size=5)
)
PLAIN_TOKENS = st.text("bcd\u00e9\u00a0\u3000\u2028\u0085\u200b\t#'\"", min_size=1, max_size=8)


@st.composite
def tables_of(draw: st.DrawFn, tokens: st.SearchStrategy[bytes]) -> ef.Embeddings:
    names = draw(st.lists(tokens, min_size=1, max_size=6, unique=True))
    dim = draw(st.integers(1, 4))
    size = len(names) * dim
    words = np.array(draw(st.lists(WORDS, min_size=size, max_size=size)), np.uint32)
    matrix = words.view(np.float32).reshape(len(names), dim)
    return ef.Embeddings(Tokens.from_bytes(names, "surrogateescape"), matrix)


def is_written(e: ef.Embeddings, path: Path) -> bool:
    """Whether the format can hold it; what is refused leaves nothing behind."""
    try:
        ef.write(e, path)
    except FormatError:
        assert list(path.parent.iterdir()) == []
        return False
    return True


def assert_reads_back(e: ef.Embeddings, path: Path, matrix: npt.NDArray[np.float32]) -> None:
    assert_is(ef.read(path, unicode_errors="surrogateescape"), spelled(e), matrix)
    shutil.rmtree(path.parent)


TEXTS = [".txt", ".vec", ".txt.gz", ".vec.gz"]


@pytest.mark.parametrize("suffix", TEXTS)
@given(e=tables_of(ANY_TOKENS))
def test_text_is_refused_or_reads_back(
    suffix: str, e: ef.Embeddings, folders: Callable[[], Path]
) -> None:
    path = folders() / f"f{suffix}"
    if is_written(e, path):
        assert_reads_back(e, path, canonical(e.matrix.view(np.uint32)))


@pytest.mark.parametrize("suffix", [*TEXTS, ".bin", ".bin.gz", ".safetensors", HDF5])
@given(e=tables_of(PLAIN_TOKENS.map(str.encode)))
def test_usual_tokens_are_never_refused(
    suffix: str, e: ef.Embeddings, folders: Callable[[], Path]
) -> None:
    path = folders() / f"f{suffix}"
    ef.write(e, path)
    as_text = suffix in TEXTS
    assert_reads_back(e, path, canonical(e.matrix.view(np.uint32)) if as_text else e.matrix)


@pytest.mark.parametrize("suffix", [".bin", ".bin.gz", HDF5])
@given(e=tables_of(ANY_TOKENS))
def test_binary_is_refused_or_reads_back(
    suffix: str, e: ef.Embeddings, folders: Callable[[], Path]
) -> None:
    path = folders() / f"f{suffix}"
    if is_written(e, path):
        assert_reads_back(e, path, e.matrix)


@given(e=tables_of(ANY_TOKENS))
def test_a_store_holds_everything(e: ef.Embeddings, folders: Callable[[], Path]) -> None:
    path = folders() / "f.safetensors"
    ef.write(e, path)
    assert ef.read(path, unicode_errors="replace").digest == e.digest
    assert_reads_back(e, path, e.matrix)


# ---- one pass, two steps, and dicts --------------------------------------------------------------


def titled(token: str) -> str:
    """Each word as `str.capitalize` has it; an apostrophe between letters parts no words."""
    letters = [
        c.isalpha()
        or unicodedata.combining(c) > 0
        or (c in "'\u2019" and before.isalpha() and after.isalpha())
        for before, c, after in zip(" " + token, token, token[1:] + " ", strict=False)
    ]
    words = itertools.groupby(zip(token, letters, strict=True), key=lambda pair: pair[1])
    joined = [("".join(c for c, _ in pairs), is_word) for is_word, pairs in words]
    return "".join(part.capitalize() if is_word else part for part, is_word in joined)


def without_accents(token: str) -> str:
    kept = (c for c in unicodedata.normalize("NFD", token) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(kept))


def digits_as(other: str, token: str) -> str:
    return "".join(other if c.isdecimal() else c for c in token)


def piece(token: str) -> str:
    for start in ("##", "\u2581", "\u0120"):
        if token.startswith(start) and token != start:
            token = token[len(start) :]
            break
    for end in ("</w>", "@@"):
        if token.endswith(end) and token != end:
            return token[: -len(end)]
    return token


FOLDS: dict[str, Callable[[str], str]] = {
    "exact": lambda token: token,
    "lower": str.lower,
    "upper": str.upper,
    "title": titled,
    "casefold": str.casefold,
    "nfc": partial(unicodedata.normalize, "NFC"),
    "nfkc": partial(unicodedata.normalize, "NFKC"),
    "strip_accents": without_accents,
    "digits": partial(digits_as, "#"),
    "digits0": partial(digits_as, "0"),
    "underscore": lambda token: token.replace(" ", "_"),
    "piece": piece,
    "piece+lower": lambda token: piece(token).lower(),
    "nfkc+casefold+digits": lambda token: digits_as("#", FOLDS["nfkc"](token).casefold()),
}


def reference(
    tokens: Sequence[str],
    matrix: npt.NDArray[Any],
    v: ef.Vocabulary,
    match: Sequence[str],
    keep: str,
    fold_file: bool,
) -> tuple[npt.NDArray[Any], list[int]]:
    """The rows of the ids and the stages that found them, -1 for none and -2 for special tokens."""
    rows: dict[str, int] = {}
    for row, token in enumerate(tokens):
        if keep == "last":
            rows.pop(token, None)
        rows.setdefault(token, row)
    result, stages = np.zeros((len(v), matrix.shape[1]), matrix.dtype), []
    for i, token in enumerate(v.tokens):
        hits = []
        for s, fold in enumerate(map(FOLDS.__getitem__, match)):
            alike = [r for t, r in rows.items() if fold_file and fold(t) == fold(token)]
            one = rows.get(token if fold_file else fold(token))
            hits += [(s, row) for row in (one, *alike) if row is not None]
        stage, row = (-2, -1) if i in v.special_ids else hits[0] if hits else (-1, -1)
        result[i] = matrix[row] if row >= 0 else 0
        stages.append(stage)
    return result, stages


SPELLINGS = st.sampled_from(
    [
        *("king", "King", "KING", "kIng", "don't", "Don't", "DON'T", "Don'T", "o\u2019x"),
        *(
            "e\u0301te\u0301",
            "E\u0301TE\u0301",
            "\u00e9t\u00e9",
            "\u00c9T\u00c9",
            "ete",
            "e\u0301",
            "\u00e9",
            "e",
            "A\u030a",
            "\u00c5",
        ),
        *("\u1e9e", "\u00df", "ss", "SS", "\ufb01n", "fin", "Fin", "\u0130", "i\u0307", "\u212b"),
        *("New York", "New_York", "new york", "new_york", "New", "1999", "####", "0000", "\u0661"),
        *("", "[UNK]", "[unk]", "<pad>", "a\u00a0b", "\uff21", "A", "a", "2 3", "2_3", "# #", "##"),
        *(
            "##fin",
            "##King",
            "\u2581",
            "\u2581king",
            "\u0120NEW",
            "king</w>",
            "ki@@",
            "\u03a3",
            "\u03c2",
        ),
    ]
)
VOCABULARIES = st.builds(
    lambda tokens, padding, unknown: ef.Vocabulary(
        [t for t in tokens if t not in (padding, unknown)], padding=padding, unknown=unknown
    ),
    st.lists(SPELLINGS, max_size=12, unique=True),
    st.sampled_from(["", None, "<pad>", "New"]),
    st.sampled_from(["[UNK]", None, "king", "[unk]"]),
)
MATCHES = st.lists(st.sampled_from(list(FOLDS)), min_size=1, max_size=4, unique=True)


def file_of(
    kind: str, folder: Path, tokens: Sequence[str], keep: str
) -> tuple[Path, ef.Embeddings]:
    """A file, made by hand where the format is simple enough, and its content."""
    matrix = table(len(tokens), 3)
    encoded = [token.encode() for token in tokens]
    path = folder / "f"
    if kind == "bin":
        put(path, word2vec_bytes(encoded, matrix))
    else:
        data = b"%d 3\n" % len(tokens) + glove_bytes(encoded, matrix)
        put(path, gzip.compress(data) if kind == "gz" else data)
    if kind in ("h5", "safetensors"):
        ef.convert(path, folder / f"f.{kind}", on_duplicate=keep)
        path = folder / f"f.{kind}"
    return path, ef.Embeddings(tokens, matrix)


KINDS = ["txt", "gz", "bin", "safetensors", pytest.param("h5", marks=needs_h5py)]


@pytest.mark.parametrize("kind", KINDS)
@given(
    tokens=st.lists(SPELLINGS, min_size=1, max_size=20),
    v=VOCABULARIES,
    match=MATCHES,
    keep=st.sampled_from(["first", "last"]),
    fold_file=st.booleans(),
)
def test_one_pass_is_two_steps_is_what_dicts_find(
    kind: str,
    tokens: list[str],
    v: ef.Vocabulary,
    match: list[str],
    keep: str,
    fold_file: bool,
    folders: Callable[[], Path],
) -> None:
    if kind == "bin":  # which cannot hold a space
        tokens = [token.replace(" ", "") for token in tokens]
    folder = folders()
    path, source = file_of(kind, folder, tokens, keep)
    expected, stages = reference(tokens, source.matrix, v, match, keep, fold_file)
    one = ef.load(path, v, match=match, fold_file=fold_file, on_duplicate=keep)
    two = ef.align(ef.read(path, on_duplicate=keep), v, match=match, fold_file=fold_file)
    for a in (one, two):
        assert bits(a.matrix) == bits(expected)
        assert a.coverage is not None
        assert a.coverage.stage_of_id.tolist() == stages
    shutil.rmtree(folder)


# ---- repeated tokens -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["txt", "gz", "bin"])
@settings(max_examples=settings.default.max_examples // 2)
@given(
    tokens=st.lists(st.sampled_from(["a", "b", "c", "d"]) | PLAIN_TOKENS, min_size=1, max_size=12)
)
def test_repeated_tokens(kind: str, tokens: list[str], folders: Callable[[], Path]) -> None:
    folder = folders()
    path, source = file_of(kind, folder, tokens, "first")
    first = {token: row for row, token in reversed(list(enumerate(tokens)))}
    last = {token: row for row, token in enumerate(tokens)}
    for keep, rows in (("first", sorted(first.values())), ("last", sorted(last.values()))):
        expected = [tokens[row] for row in rows], source.matrix[rows]
        assert_is(ef.read(path, on_duplicate=keep), *expected)
        for suffix in (".bin", ".safetensors"):
            done = ef.convert(path, folder / f"t{suffix}", on_duplicate=keep, overwrite=True)
            assert_is(ef.read(folder / f"t{suffix}"), *expected)
            assert (done.rows, done.dropped) == (len(rows), len(tokens) - len(rows))
    if len(first) < len(tokens):
        with pytest.raises(FormatError, match="must differ"):
            ef.read(path, on_duplicate="error")
        with pytest.raises(FormatError, match="must differ"):
            ef.convert(path, folder / "none.bin", on_duplicate="error")
        assert not (folder / "none.bin").exists()
    else:
        assert_is(ef.read(path, on_duplicate="error"), tokens, source.matrix)
    shutil.rmtree(folder)


@given(numbers=st.lists(st.integers(0, 40), min_size=1, max_size=80), size=st.integers(1, 300))
def test_a_store_is_the_same_with_and_without_repeated_rows(
    numbers: list[int], size: int, folders: Callable[[], Path]
) -> None:
    """The index that finds repeated tokens becomes that of the store, whatever the batches."""
    folder, matrix = folders(), table(41, 2)
    rows = [b"token%d" % n + glove_bytes([b""], matrix[n : n + 1]) for n in numbers]
    targets = []
    for name, lines in (("all", rows), ("different", dict.fromkeys(rows))):
        (folder / name).mkdir()
        source = put(folder / name / "f.txt", b"".join(lines))
        targets.append(source.with_name("t.safetensors"))
        with cut_up(size):
            ef.convert(source, targets[-1])
    assert targets[0].read_bytes() == targets[1].read_bytes()
    shutil.rmtree(folder)


# ---- threads and pieces --------------------------------------------------------------------------


@contextmanager
def cut_up(size: int) -> Iterator[None]:
    """While this runs, everything is done in pieces of so many bytes (or rows)."""
    modules = (text, writer, word2vec, hdf5, store, storage, align_module)
    names = ("SCAN_BYTES", "BATCH_BYTES", "PIECE_BYTES", "WALK_BYTES", "CHUNK_BYTES", "COPY_BYTES")
    with pytest.MonkeyPatch.context() as patch:
        for module, name in itertools.product(modules, [*names, "TOKEN_ROWS", "HASH_ROWS"]):
            if hasattr(module, name):
                patch.setattr(module, name, size)
        patch.setattr(text, "STREAM_BYTES", max(size, 64))  # a block holds the header at least
        patch.setattr(word2vec, "BATCH_BYTES", max(size, 64))
        patch.setattr(files.mapped, "KEPT_BYTES", 0)
        yield


def outcome(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    """The result or the error, and the library's warnings (NumPy tells of each overflow)."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            result = work()
        except EmbedFreezeError as error:
            result = type(error), str(error)
    return result, [str(warning.message) for warning in told]


def all_outcomes(path: Path, v: ef.Vocabulary, **options: Any) -> list[tuple[Any, list[str]]]:
    """What comes of a file in each way that it can be read."""

    def whole() -> Any:
        e = ef.read(path, **options)
        return spelled(e), bits(e.matrix)

    def aligned() -> Any:
        a = ef.load(path, v, oov="hash", **options)
        assert a.coverage is not None
        return bits(a.matrix), a.coverage.stage_of_id.tolist(), a.coverage.special_in_file

    def converted() -> Any:
        target = path.with_name("t.vec")
        ef.convert(path, target, overwrite=True, **options)
        return target.read_bytes()

    return [outcome(work) for work in (whole, aligned, converted)]


THREADS = st.sampled_from([1, 2, 5])
GOOD_LINES = st.tuples(SPELLINGS, st.integers(-99, 99), st.sampled_from([0.5, 1e-30, 7.0])).map(
    lambda parts: f"{parts[0]} {parts[1]} {parts[2]}".encode()
)
BAD_LINES = st.sampled_from([b"", b"few 1", b"no number", b"x 1 1_0", b"a 1 2 "])
# One kind of trouble in a file: of several, the one that is told is the first of its batch.
LINES = st.sampled_from([BAD_LINES, st.just(b"\xff 1 2"), GOOD_LINES]).flatmap(
    lambda trouble: st.lists(
        GOOD_LINES | GOOD_LINES | GOOD_LINES | trouble, min_size=3, max_size=40
    )
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "on_bad_row": st.sampled_from(["error", "skip"]),
        "on_duplicate": st.sampled_from(["first", "last"]),
        "unicode_errors": st.sampled_from(["strict", "surrogateescape"]),
        "limit": st.integers(0, 40),
        "dtype": st.sampled_from(storage.DTYPES),
    },
)


@given(
    threads=THREADS,
    lines=LINES,
    end=st.sampled_from([b"\n", b" \r\n"]),
    head=st.sampled_from([b"", b"30 2\n"]),
    packed=st.booleans(),
    v=VOCABULARIES,
    options=OPTIONS,
    size=st.integers(1, 400),
)
def test_text_does_not_depend_on_threads_and_pieces(
    threads: int,
    lines: list[bytes],
    end: bytes,
    head: bytes,
    packed: bool,
    v: ef.Vocabulary,
    options: dict[str, Any],
    size: int,
    folders: Callable[[], Path],
) -> None:
    data = head + end.join([b"usual 1 2", b"first 3 4", *lines]) + end
    path = put(folders() / "f", gzip.compress(data) if packed else data)
    expected = all_outcomes(path, v, threads=1, **options)
    with cut_up(size):
        assert all_outcomes(path, v, threads=threads, **options) == expected
    shutil.rmtree(path.parent)


@pytest.mark.parametrize(
    "kind", ["bin", "bin.gz", "safetensors", pytest.param("h5", marks=needs_h5py)]
)
@settings(max_examples=settings.default.max_examples // 2)
@given(
    threads=THREADS,
    tokens=st.lists(
        SPELLINGS.map(lambda t: t.replace(" ", "")), min_size=1, max_size=40, unique=True
    ),
    v=VOCABULARIES,
    options=OPTIONS,
    size=st.integers(32, 400),
)
def test_other_formats_do_not_depend_on_threads_and_pieces(
    kind: str,
    threads: int,
    tokens: list[str],
    v: ef.Vocabulary,
    options: dict[str, Any],
    size: int,
    folders: Callable[[], Path],
) -> None:
    path = folders() / f"f.{kind}"
    ef.write(ef.Embeddings(tokens, table(len(tokens), 3)), path)
    expected = all_outcomes(path, v, threads=1, **options)
    with cut_up(size):
        assert all_outcomes(path, v, threads=threads, **options) == expected
    shutil.rmtree(path.parent)


# ---- damage --------------------------------------------------------------------------------------

# So far from each other that a few changed bytes make none of them another.
KEPT_TOKENS = [f"{n * 2654435761 % 2**32:08x}-{n}" for n in range(40)]
KEPT = ef.Embeddings(KEPT_TOKENS, table(40, 3))


@dataclass(frozen=True)
class Healthy:
    """A store, what it says, and where something can go wrong in it (start, stop)."""

    data: bytes
    answers: dict[str, Any]
    spans: list[tuple[int, int]]


def aligned_table() -> ef.AlignedEmbeddings:
    """The kept tokens in two files, one of which spells them otherwise; the last is in neither."""
    upper = ef.Embeddings([token.upper() for token in KEPT_TOKENS[:20]], KEPT.matrix[:20])
    others = ef.Embeddings([*KEPT_TOKENS[10:39], f"{KEPT_TOKENS[39]}0"], KEPT.matrix[10:])
    counts = {token: n for n, token in enumerate(KEPT_TOKENS) if n % 3}
    v = ef.Vocabulary(KEPT_TOKENS, padding=None, unknown=None, counts=counts)
    a = ef.align([upper, others], v, match=("exact", "upper"), oov=lambda _: KEPT.matrix[39:])
    assert a.coverage is not None
    assert a.coverage.nearest() == {KEPT_TOKENS[39]: [f"{KEPT_TOKENS[39]}0"]}
    assert a.coverage.found("upper") > 10
    return a


@pytest.fixture(scope="module", params=["written", "aligned"])
def healthy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Healthy:
    """A store, and one that also holds a vocabulary, counts and a coverage of two sources."""
    path = tmp_path_factory.mktemp("healthy") / "f.safetensors"
    if request.param == "written":
        ef.write(KEPT, path)
    else:
        aligned_table().save(path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    spans = [tuple(8 + length + at for at in entry["data_offsets"]) for entry in entries]
    text = data.rindex(b"}", 0, 8 + length)
    return Healthy(data, answers_of(path), [(0, 8), (8, text + 1), (text, 8 + length), *spans])


def answers_of(path: Path) -> dict[str, Any]:
    """All that a store says, of a copy that was held to its digests."""
    e = ef.read(path, seal="copy", unicode_errors="surrogateescape")
    v, counts = e.vocabulary, e.alignment.counts
    return {
        "tokens": list(e.tokens),
        "rows": e.tokens.find(KEPT_TOKENS).tolist(),
        "bits": bits(e.matrix),
        "digest": e.digest,
        "vocabulary": v and v.to_dict(),
        "counts": (v and v.counts, None if counts is None else counts.tolist()),
        "coverage": e.coverage and e.coverage.to_dict(None),
        "provenance": e.provenance,
    }


@contextmanager
def no_hang(seconds: float) -> Iterator[None]:
    """What takes longer ends the process and shows where it was."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@st.composite
def damaged(draw: st.DrawFn, healthy: Healthy) -> bytes:
    """The bytes after some of them were changed, taken out, put in, or moved."""
    raw = bytearray(healthy.data)
    for _ in range(draw(st.integers(1, 4))):
        # Spaces are most of a small store, and least of what can go wrong.
        low, high = draw(st.sampled_from(healthy.spans))
        at = draw(st.integers(low, high) | st.integers(0, len(healthy.data)))
        few = draw(st.binary(min_size=1, max_size=9))
        kind = draw(st.sampled_from(["flip", "overwrite", "insert", "delete", "cut", "move"]))
        if kind == "flip":
            raw[at : at + 1] = bytes(byte ^ few[0] for byte in raw[at : at + 1])
        elif kind == "overwrite":
            raw[at : at + len(few)] = few[: len(raw) - at]
        elif kind == "insert":
            raw[at:at] = few
        elif kind == "delete":
            del raw[at : at + len(few)]
        elif kind == "cut":
            del raw[at:]
        else:
            raw[at : at + 8] = raw[len(few) : len(few) + 8]
    return bytes(raw)


def reported(e: ef.Embeddings) -> None:
    """Its coverage in every form, and once more as that of its own vocabulary, loaded in place."""
    if e.vocabulary is not None and e.coverage is not None:
        e.coverage.to_markdown()
        assert record_of_coverage(e.coverage).notes.keys() == {"match", "sources", "nearest"}
        again = ef.align(e, e.vocabulary)
        str(again.coverage)
        again.extend(["new"], KEPT)


def use_in_every_way(path: Path) -> None:
    """An error of ours is as good as an answer."""
    v = ef.Vocabulary(KEPT_TOKENS)
    uses: list[Callable[[], object]] = [
        lambda: ef.inspect(path),
        lambda: list(ef.read(path).tokens),
        lambda: ef.read(path).vocabulary,
        lambda: ef.read(path).provenance,
        lambda: str(ef.read(path, unicode_errors="replace").coverage),
        lambda: reported(ef.read(path)),
        lambda: ef.read(path, limit=7, unicode_errors="replace"),
        lambda: ef.load(path, v, match=("lower", "exact")),
        lambda: ef.convert(path, path.with_name("t.vec"), overwrite=True),
        lambda: ef.convert(path, path.with_name("t.safetensors"), vocabulary=v, overwrite=True),
    ]
    for use in uses:
        outcome(use)


@given(data=st.data())
def test_a_damaged_store_is_refused_or_answers_alike(
    data: st.DataObject, healthy: Healthy, folders: Callable[[], Path]
) -> None:
    path = put(folders() / "f.safetensors", data.draw(damaged(healthy)))
    with no_hang(60):
        use_in_every_way(path)
        try:
            answers = answers_of(path)
        except EmbedFreezeError:
            return
        assert answers == healthy.answers
        shutil.rmtree(path.parent)


def test_a_healthy_store_says_what_was_kept(healthy: Healthy) -> None:
    answers = healthy.answers
    assert (answers["tokens"], answers["bits"]) == (KEPT_TOKENS, bits(KEPT.matrix))
    assert (answers["rows"], answers["digest"]) == (list(range(40)), KEPT.digest)
    if answers["vocabulary"] is not None:
        assert answers["coverage"]["type"]["found"] == 39
        assert len(answers["coverage"]["sources"]) == 2
        assert answers["counts"][0][KEPT_TOKENS[1]] == 1


HEADS = [b"", b"2 3\n", b"a 1 2\nb 3 4\n", b"\xef\xbb\xbf", b"\x20" + b"\0" * 7 + b"{"]
HEADS += [b"\x1f\x8b\x08\0", b"PK\x03\x04", b"\x80\x04", b"BZh9", b"\x89HDF\r\n\x1a\n"]
if not HAS_H5PY:
    del HEADS[-1]


@given(
    head=st.sampled_from(HEADS), tail=st.binary(max_size=120) | st.text("ab 1\n.-e").map(str.encode)
)
@example(head=b"", tail=b"")
def test_any_bytes_are_read_or_refused(
    head: bytes, tail: bytes, folders: Callable[[], Path]
) -> None:
    path = put(folders() / "f", head + tail)
    with no_hang(60):
        use_in_every_way(path)
    shutil.rmtree(path.parent)
