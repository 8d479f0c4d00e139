"""Magnitude: files of its schema, computed anew as pymagnitude does, and harmful databases."""

import gzip
import os
import runpy
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from samples import ODD_TOKENS, assert_is, bits, put, spelled

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.files import open_source
from embedfreeze.formats.magnitude import database as magnitudefile
from embedfreeze.formats.magnitude import rows as magnitude

GOLDEN = Path(__file__).parent / "golden" / "magnitude"
made = runpy.run_path(str(GOLDEN / "make.py"))
write, golden_matrix = made["write"], made["matrix"]
TOKENS = [*ODD_TOKENS, "a b", "", "x\ny", "quo'te", "King", "KING"]


def floats(rows: int, dim: int = 5) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, dim)).astype(np.float32)


def computed(path: Path) -> tuple[list[str], np.ndarray]:
    """Tokens and rows as `pymagnitude.Magnitude(path, normalized=False)` computes them."""
    database = sqlite3.connect(path)
    settings = dict(database.execute("SELECT key, value FROM magnitude_format"))
    tokens, rows = [], []
    for key, *values in database.execute("SELECT * FROM magnitude ORDER BY rowid"):
        vector = np.zeros(settings["dim"], np.float32)
        vector[:] = values[: settings["dim"]]
        unit = float(10 ** settings["precision"])
        with_norm = len(values) > settings["dim"]
        rows.append(vector * (float(values[-1]) / unit) if with_norm else vector / unit)
        tokens.append(key)
    database.close()
    return tokens, np.array(rows)


@pytest.mark.parametrize("precision", [0, 4, 7, 9, 12])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("norms", [False, True])
def test_as_pymagnitude_computes(precision: int, index: bool, norms: bool, tmp_path: Path) -> None:
    path, rows = tmp_path / "f.magnitude", floats(len(TOKENS))
    write(path, TOKENS, rows, precision=precision, index=index, norms=norms)
    tokens, expected = computed(path)
    assert tokens == TOKENS
    packed = put(tmp_path / "f.gz", gzip.compress(path.read_bytes()))
    for source in (path, packed):
        e = ef.read(source)
        assert_is(e, TOKENS, expected)
        a = ef.load(
            source, ef.Vocabulary(["king", "King", "zz", "quo'te", "x\ny"]), match=("exact",)
        )
        assert bits(a.matrix[[2, 3, 5, 6]]) == bits(e[["king", "King", "quo'te", "x\ny"]])
        assert a.coverage.found() == 4
        found = ef.inspect(source)
        assert (found.format, found.rows, found.dim) == ("magnitude", len(TOKENS), 5)
    assert_is(ef.read(path, limit=3), TOKENS[:3], expected[:3])
    assert ef.load(path, ef.Vocabulary(["KING"]), limit=3, match=("exact",)).coverage.found() == 0
    with open(path, "rb") as opened:
        assert_is(ef.read(opened), TOKENS, expected)


def test_golden_files() -> None:
    with pytest.warns(UserWarning, match="1 row repeats"):
        e = ef.read(GOLDEN / "words.magnitude")
    tokens, rows = computed(GOLDEN / "words.magnitude")
    assert_is(e, [*tokens[:5], "zero"], rows[[0, 1, 2, 3, 4, 6]])
    assert not e["zero"].any()
    assert np.abs(e.matrix[:5] / golden_matrix()[:5] - 1).max() < 1e-3  # the rule is the right one
    with pytest.warns(UserWarning, match="1 row repeats"):
        last = ef.read(GOLDEN / "words.magnitude", on_duplicate="last")
    assert bits(last["the"]) == bits(rows[5])
    with pytest.raises(FormatError, match="row 5"):
        ef.read(GOLDEN / "words.magnitude", on_duplicate="error")
    vocabulary = ef.Vocabulary(["the"])
    for kept, row in (("first", 1), ("last", 5)):
        a = ef.load(GOLDEN / "words.magnitude", vocabulary, on_duplicate=kept)
        assert bits(a.matrix[2]) == bits(rows[row])
    old = ef.read(GOLDEN / "old.magnitude")
    assert_is(old, *computed(GOLDEN / "old.magnitude"))
    assert any("no norms" in note for note in ef.inspect(GOLDEN / "old.magnitude").notes)


def test_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magnitude, "BATCH_VALUES", 35)
    monkeypatch.setattr(magnitude, "KEYS", 6)
    monkeypatch.setattr(magnitude, "SCANNED", 9)
    tokens = [f"t{i}" for i in range(60)]
    for index in (False, True):
        write(path := tmp_path / "f", tokens, floats(60), index=index)
        e = ef.read(path)
        assert_is(e, tokens, computed(path)[1])
        wanted = [f"t{i}" for i in range(59, -1, -3)]
        a = ef.load(path, ef.Vocabulary(wanted, padding=None))
        assert bits(a.matrix[1:]) == bits(e[wanted])


def test_a_header_that_miscounts(tmp_path: Path) -> None:
    write(tmp_path / "f", ["a", "b"], floats(2), size=400_000)
    with pytest.warns(UserWarning, match="header says 400000 rows, found 2"):
        assert spelled(ef.read(tmp_path / "f")) == [b"a", b"b"]


def test_rows_with_holes(tmp_path: Path) -> None:
    path = changed(tmp_path, "UPDATE magnitude SET rowid = 9000000 WHERE key = 'b'")
    assert spelled(ef.read(path)) == [b"a", b"c", b"b"]


def test_tokens_that_are_not_utf8(tmp_path: Path) -> None:
    path = changed(tmp_path, "UPDATE magnitude SET key = CAST(x'636166e9' AS TEXT) WHERE key = 'b'")
    with pytest.raises(FormatError, match="UTF-8.*unicode_errors"):
        ef.read(path)
    e = ef.read(path, unicode_errors="surrogateescape")
    assert spelled(e) == [b"a", b"caf\xe9", b"c"]
    vocabulary = ef.Vocabulary(["caf\udce9"])
    a = ef.load(path, vocabulary, unicode_errors="surrogateescape")
    assert bits(a.matrix[2]) == bits(e.matrix[1])


def changed(folder: Path, *statements: str) -> Path:
    """A file with three rows, after SQL was run on it."""
    path = folder / "f.magnitude"
    write(path, ["a", "b", "c"], floats(3), size=None)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA writable_schema = ON")
    for statement in statements:
        database.execute(statement)
    database.close()
    return path


DROP = "DROP TABLE magnitude"
COLUMNS = "dim_0, dim_1, dim_2, dim_3, dim_4"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
PLAIN = r"must be Magnitude's, with the plain tables magnitude and magnitude_format, received "
HARM = {
    "no such tables": ([DROP, "DROP TABLE magnitude_format"], PLAIN + "no tables"),
    "another database": ([DROP, "CREATE TABLE users (name)"], PLAIN + ".*table users"),
    "a view": (
        [DROP, f"CREATE VIEW magnitude AS {ENDLESS} SELECT i AS key, {', '.join('5' * 5)} FROM n"],
        PLAIN + ".*view magnitude",
    ),
    "a view of the settings": (
        [
            "DROP TABLE magnitude_format",
            f"CREATE VIEW magnitude_format AS {ENDLESS} SELECT * FROM n",
        ],
        PLAIN + ".*view magnitude_format",
    ),
    "a virtual table": (
        [  # not every library of SQLite has the module
            DROP,
            "INSERT INTO sqlite_master VALUES ('table', 'magnitude', 'magnitude', 0, "
            f"'CREATE VIRTUAL TABLE magnitude USING fts3(key, {COLUMNS})')",
        ],
        PLAIN,
    ),
    "a computed column": (
        [
            DROP,
            f"CREATE TABLE magnitude (key TEXT, {COLUMNS}, magnitude AS (zeroblob(1000000000)))",
        ],
        "none of them computed, received key, dim_0",
    ),
    "columns of another name": (
        ["ALTER TABLE magnitude RENAME COLUMN dim_3 TO dim_9"],
        "columns key, dim_0 ... and magnitude",
    ),
    "another dim": (
        ["UPDATE magnitude_format SET value = 300 WHERE key = 'dim'"],
        "must say dim 5, as the table has",
    ),
    "no precision": (
        ["DELETE FROM magnitude_format WHERE key = 'precision'"],
        "precision of 0 to 30",
    ),
    "a huge precision": (
        ["UPDATE magnitude_format SET value = 1000000000 WHERE key = 'precision'"],
        "precision of 0 to 30",
    ),
    "settings that are no numbers": (
        ["UPDATE magnitude_format SET value = x'00'"],
        "must say dim 5",
    ),
    "no value": (
        ["UPDATE magnitude SET dim_2 = NULL WHERE key = 'b'"],
        "row 1: values must be numbers",
    ),
    "text as a value": (["UPDATE magnitude SET dim_2 = 'x'"], "row 0: values must be numbers"),
    "no norm": (["UPDATE magnitude SET magnitude = NULL"], "row 0: a magnitude must be a number"),
    "no key": (["UPDATE magnitude SET key = NULL WHERE key = 'c'"], "row 2: a key must be text"),
    "a long key": (
        ["UPDATE magnitude SET key = CAST(zeroblob(20000000) AS TEXT) WHERE key = 'a'"],
        "SQLite cannot read the file .*too big",
    ),
    "no rows": (["DELETE FROM magnitude"], "no rows|found 0"),
    "a schema that is no SQL": (
        ["UPDATE sqlite_master SET sql = 'CREATE TABLE magnitude (' WHERE name = 'magnitude'"],
        "SQLite cannot read the file",
    ),
}


@pytest.mark.parametrize("what", HARM)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_databases_that_mean_harm(what: str, tmp_path: Path) -> None:
    statements, message = HARM[what]
    path = changed(tmp_path, *statements)
    before = path.read_bytes()
    with pytest.raises(FormatError, match=message):
        ef.read(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["f.magnitude"]


def test_no_function_is_called(tmp_path: Path) -> None:
    """What would run forever, or take a gigabyte, is not even prepared."""
    path = changed(tmp_path)
    with open_database(path) as database:
        for query in (
            f"{ENDLESS} SELECT count(*) FROM n",
            "SELECT randomblob(1000000000)",
            "SELECT load_extension('x')",
            "ATTACH DATABASE '/tmp/other' AS other",
            "DELETE FROM magnitude",
        ):
            with pytest.raises(FormatError, match="SQLite cannot read"):
                list(database.rows(query))


def test_no_query_takes_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magnitudefile, "STEPS_AT_LEAST", 100_000)
    path = changed(tmp_path)
    with open_database(path) as database:
        tables = ", ".join(f"magnitude AS m{i}" for i in range(16))
        with pytest.raises(FormatError, match="more steps than a file of its size can need"):
            list(database.rows(f"SELECT m0.key FROM {tables} WHERE m0.dim_0 + m15.dim_0 = 0.5"))
    with open_database(path) as database:
        database.size = 20
        with pytest.raises(FormatError, match="more rows"):
            list(database.rows("SELECT m.key FROM magnitude AS m, magnitude AS n, magnitude AS o"))


def test_texts_are_held_to_the_size_of_the_file(tmp_path: Path) -> None:
    """Rows of a damaged file can share the pages of one long text."""
    path = changed(tmp_path, "UPDATE magnitude SET key = printf('%0500d', rowid)")
    with open_database(path) as database:
        query = "SELECT rowid, key FROM magnitude"
        rows = [row for part in database.rows(query) for row in part]
        assert {len(key) for _, key in rows} == {500}
        database.size = 500 * len(rows)
        with pytest.raises(FormatError, match="or longer ones"):
            list(database.rows(query))


@pytest.mark.parametrize("at_once", [1, 7, 64, 65, 1000])
def test_rows_come_so_many_at_once(at_once: int, tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
        "200) INSERT INTO magnitude(key) SELECT 'more' || i FROM n",
    )
    with open_database(path) as database:
        parts = list(database.rows("SELECT rowid FROM magnitude ORDER BY rowid", at_once=at_once))
    rows = [row for part in parts for (row,) in part]
    assert len(rows) > 200
    assert rows == sorted(set(rows))
    assert {len(part) for part in parts[:-1]} <= {at_once}
    assert 0 < len(parts[-1]) <= at_once


@contextmanager
def open_database(path: Path) -> Iterator[magnitudefile.Database]:
    with open_source(path) as source:
        yield magnitudefile.opened_database(source)


def test_a_database_that_is_written_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path)
    put(tmp_path / "f.magnitude-wal", b"x")
    with pytest.raises(FormatError, match=r"-wal beside it: close what writes it"):
        ef.read(path)


def test_a_file_without_a_name(tmp_path: Path) -> None:
    path = changed(tmp_path)
    with open(path, "rb") as opened:
        path.unlink()
        with pytest.raises(FileError, match="write it to a file that has one"):
            ef.read(opened)


def test_nothing_is_left_of_what_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "spool").mkdir()
    path = put(tmp_path / "f.gz", gzip.compress((GOLDEN / "old.magnitude").read_bytes()))
    assert len(ef.read(path)) == 3
    assert os.listdir(tmp_path / "spool") == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_truncations(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = (GOLDEN / "old.magnitude").read_bytes()
    for size in range(16, len(data), 37):
        with pytest.raises(FormatError, match="truncated|SQLite cannot read"):
            ef.read(put(tmp_path / "f", pack(data[:size])))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    rng, outcomes = np.random.default_rng(0), set()
    vocabulary = ef.Vocabulary(["the", "x\ny"])
    for name in ("words", "old"):
        data = (GOLDEN / f"{name}.magnitude").read_bytes()
        for _ in range(200):
            mutant = bytearray(data)
            for at in rng.integers(0, len(data), int(rng.integers(1, 6))).tolist():
                mutant[at] = int(
                    rng.choice([0, 1, 0x7F, 0xFF, mutant[at] ^ (1 << rng.integers(8))])
                )
            path = put(tmp_path / "f", bytes(mutant))
            for read in (ef.read, lambda p, **o: ef.load(p, vocabulary, **o)):
                try:
                    read(path, format="magnitude", unicode_errors="replace")
                    outcomes.add("read")
                except EmbedFreezeError:
                    outcomes.add("refused")
    assert outcomes == {"read", "refused"}
