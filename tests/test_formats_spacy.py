"""spaCy's folders of vectors: bit-equal to spaCy, in table mode and in floret mode."""

import json
import random
import shutil
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, bits, child, put, table

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.formats.spacy.keys import SYMBOLS, keys_of, map_head, packed_map, read_map
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "spacy"
FLORET = ["floret", "floret-odd"]


def told(name: str) -> dict[str, np.ndarray]:
    """What spaCy says of tokens."""
    with np.load(GOLDEN / f"{name}.npz") as archive:
        return dict(zip(archive["tokens"].tolist(), archive["rows"], strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the table."""
    return Path(shutil.copytree(GOLDEN / "table", tmp_path / "f"))


def test_a_table() -> None:
    e = ef.read(GOLDEN / "table")
    assert {token: bits(e[token]) for token in e.tokens} == {
        token: bits(row) for token, row in told("table").items()
    }
    assert e.tokens[:3] == ["king", "x" * 40, "\u2028"]  # in the order of the rows
    assert ef.inspect(GOLDEN / "table").format == "spacy"
    notes = ef.inspect(GOLDEN / "table").notes
    assert "table mode: 10 keys share 12 rows" in notes
    assert "1 keys are of strings that strings.json has not: left out" in notes
    assert ef.read(GOLDEN / "table" / "vectors").digest == e.digest
    assert bits(ef.read(GOLDEN / "table", limit=3).matrix) == bits(e.matrix[:3])
    a = ef.load(GOLDEN / "table", ef.Vocabulary(["DATE", "king", "zzzz"]))
    assert bits(a.matrix[2:4]) == bits(e[["DATE", "king"]])
    half = ef.read(GOLDEN / "table", dtype="float16")
    assert bits(half.matrix) == bits(e.matrix.astype(np.float16))


@pytest.mark.parametrize("name", FLORET)
def test_floret_mode(name: str) -> None:
    expected = told(name)
    e = ef.read(GOLDEN / name)
    assert set(e.tokens) == {token for token in expected if token not in SYMBOLS}
    assert bits(e.matrix) == bits(np.array([expected[token] for token in e.tokens]))
    for threads in (1, 3):
        assert bits(ef.read(GOLDEN / name, threads=threads).matrix) == bits(e.matrix)
    v = ef.Vocabulary(list(expected), padding=None, unknown=None)
    a = ef.load(GOLDEN / name, v, oov="subword")
    assert bits(a.matrix) == bits(np.array(list(expected.values())))
    assert a.coverage is not None
    assert a.coverage.found("subword") == len(expected) - len(e)
    assert ef.inspect(GOLDEN / name).notes[0].startswith("floret mode: n-grams of ")
    empty = ef.load(GOLDEN / name, ef.Vocabulary([""], padding=None, unknown=None), oov="subword")
    assert not empty.matrix.any()


def test_a_table_has_no_ngrams() -> None:
    with pytest.raises(FormatError, match='oov="subword" needs a file with vectors of n-grams'):
        ef.load(GOLDEN / "table", ef.Vocabulary(["unseen"]), oov="subword")


def test_a_whole_pipeline_and_other_places(folder: Path, tmp_path: Path) -> None:
    digest = ef.read(folder).digest
    (tmp_path / "pipeline").mkdir()
    shutil.move(folder, tmp_path / "pipeline" / "vocab")
    assert ef.read(tmp_path / "pipeline").digest == digest
    strings = tmp_path / "pipeline" / "vocab" / "strings.json"
    strings.rename(tmp_path / "pipeline" / "strings.json")  # above
    assert ef.read(tmp_path / "pipeline" / "vocab").digest == digest
    (tmp_path / "pipeline" / "strings.json").rename(tmp_path / "others.json")
    assert ef.read(tmp_path / "pipeline", tokens=tmp_path / "others.json").digest == digest
    with pytest.raises(FileError, match=r"strings\.json"):
        ef.read(tmp_path / "pipeline")


# spaCy runs in processes of its own: it imports a package that a module of the tests hides.
needs_spacy = pytest.mark.skipif(find_spec("spacy") is None, reason="spaCy is not installed")
KEYS = """
import json, sys
from spacy.strings import get_string_id
from spacy.symbols import IDS
asked = json.loads(sys.argv[1])
print(json.dumps([IDS, [get_string_id(token) for token in asked]]))
"""
READ = """
import sys
import numpy as np
import spacy
vocab = spacy.blank("xx").vocab
vocab.from_disk(sys.argv[1])
np.save(sys.argv[2], vocab.vectors.get_batch(list(vocab.vectors.key2row)))
words = [key for key in vocab.vectors.key2row if key]
np.save(sys.argv[3], [vocab.get_vector(key) for key in words])
vocab.vectors.to_disk(sys.argv[4])
"""


@needs_spacy
def test_symbols_and_keys_are_those_of_spacy() -> None:
    asked = [*ODD_TOKENS, "", "number", "ORG", *("x" * i for i in range(1, 40)), "coffee"]
    symbols, theirs = json.loads(child(KEYS, json.dumps(asked)))
    assert symbols == {name: i for i, name in enumerate(SYMBOLS)}
    assert keys_of(Tokens.from_strings(asked)).tolist() == theirs
    assert theirs[-1] == 3197928453018144401


@needs_spacy
def test_spacy_reads_what_is_written(tmp_path: Path) -> None:
    tokens = [*ODD_TOKENS, "ORG", "number", "a b", ""]
    e = ef.Embeddings(tokens, np.nan_to_num(table(len(tokens), 4)))
    ef.write(e, tmp_path / "f", format="spacy")
    child(READ, *(tmp_path / name for name in ("f", "a.npy", "b.npy", "theirs")))
    assert bits(np.load(tmp_path / "a.npy")) == bits(e.matrix)
    assert bits(np.load(tmp_path / "b.npy")) == bits(e.matrix[:-1])
    again = ef.read(tmp_path / "f")
    assert again.tokens == e.tokens
    assert bits(again.matrix) == bits(e.matrix)
    assert dict_of(ef.read(tmp_path / "theirs")) == dict_of(e)


def dict_of(e: ef.Embeddings) -> dict[str, bytes]:
    return {token: bits(e[token]) for token in e.tokens}


def test_what_is_written(tmp_path: Path) -> None:
    e = ef.Embeddings(["a", "DATE"], np.array([[1, 2], [3, 4]], np.float16))
    ef.write(e, tmp_path / "f", format="spacy")
    assert np.load(tmp_path / "f" / "vectors").dtype == np.float16
    assert json.loads((tmp_path / "f" / "vectors.cfg").read_text()) == {"mode": "default"}
    assert json.loads((tmp_path / "f" / "strings.json").read_text()) == ["a", "DATE"]
    packed = (tmp_path / "f" / "key2row").read_bytes()
    entries = struct.pack(">BQBI", 0xCF, 11901859001352538922, 0xCE, 0)
    assert packed == b"\xdf\0\0\0\2" + entries + struct.pack(">BQBI", 0xCF, 391, 0xCE, 1)
    bad = ef.Embeddings(Tokens.from_bytes([b"\xff"], "surrogateescape"), table(1, 2))
    with pytest.raises(FormatError, match=r"token that is not UTF-8, received b'\\xff' as row 0"):
        ef.write(bad, tmp_path / "g", format="spacy")
    assert not (tmp_path / "g").exists()


# ---- key2row -------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), max_size=20))
def test_maps_as_msgpack_packs_them(mapped: dict[int, int]) -> None:
    msgpack = pytest.importorskip("msgpack")
    keys, rows = read_map(msgpack.packb(mapped), "k")
    assert dict(zip(keys.tolist(), rows.tolist(), strict=True)) == mapped
    written = map_head(len(mapped)) + packed_map(np.array(list(mapped), np.uint64), 0)
    assert msgpack.unpackb(written, strict_map_key=False) == dict(
        zip(mapped, range(len(mapped)), strict=True)
    )


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"", "b''"),
        (b"\xde\0", "b'\\\\xde"),
        (b"\x91\1", "b'\\\\x91"),
        (b"\x81\1", "1 entries in 1 bytes"),
        (b"\xdf\xff\xff\xff\xff\1\1", "4294967295 entries in 2 bytes"),
        (b"\x81\xcf\0\0", "b'\\\\xcf"),
        (b"\x81\xa1a\1", "b'\\\\xa1a"),
        (b"\x81\1\xc0", "b'\\\\xc0'"),
        (b"\x81\xd0\xff\1", "a key below 0"),
        (b"\x81\1\xcf\xff\0\0\0\0\0\0\0", "a key below 0 or a row above"),
        (b"\x80\0", "more bytes behind it"),
    ],
)
def test_what_is_no_map(data: bytes, received: str, folder: Path) -> None:
    put(folder / "key2row", data)
    with pytest.raises(FormatError, match=f"must be a MessagePack map .*received {received}"):
        ef.read(folder)


# ---- damaged and hostile folders -----------------------------------------------------------------


def test_rows_that_are_not_there(folder: Path) -> None:
    for row in (12, 2**40):
        put(folder / "key2row", b"\x81\1\xcf" + row.to_bytes(8, "big"))
        with pytest.raises(FormatError, match="the rows of key2row must be from 0 to 11"):
            ef.read(folder)
    put(folder / "key2row", b"\x81\1\xff")
    with pytest.raises(FormatError, match="must be a MessagePack map"):
        ef.read(folder)
    put(folder / "key2row", b"\x80")
    with pytest.raises(FormatError, match="has no rows"):
        ef.read(folder)
    (folder / "key2row").unlink()
    with pytest.raises(FileError, match="key2row"):
        ef.read(folder)


@pytest.mark.parametrize(
    "settings",
    [
        "[]",
        "{",
        '{"mode": "other"}',
        {"minn": -1},
        {"minn": 4, "maxn": 3},
        {"maxn": 2**31},
        {"hash_count": 0},
        {"hash_count": 5},
        {"hash_seed": -1},
        {"hash_seed": 2**32},
        {"minn": "x"},
        {"minn": None},
        {"bow": "\udc80"},
        {"bow": "x" * 101},
        {"minn": float("inf")},
        "[" * 100_000,
    ],
)
def test_settings_that_cannot_be(settings: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "floret", tmp_path / "f"))
    usual = json.loads((folder / "vectors.cfg").read_text())
    text = settings if isinstance(settings, str) else json.dumps({**usual, **settings})
    put(folder / "vectors.cfg", text.encode())
    with pytest.raises(FormatError, match="the settings must name the mode default, or floret"):
        ef.read(folder)


def test_arrays_that_cannot_be(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "floret", tmp_path / "f"))
    for array in (np.zeros((3, 4)), np.zeros((0, 4), "f"), np.asfortranarray(np.ones((3, 4), "f"))):
        with open(folder / "vectors", "wb") as file:
            np.save(file, array)
        with pytest.raises(FormatError, match="the rows of floret mode must be float32"):
            ef.read(folder)
    with open(folder / "vectors", "wb") as file:
        np.save(file, np.zeros(4))
    with pytest.raises(FormatError, match="must be floats"):
        ef.read(folder)
    data = (GOLDEN / "floret" / "vectors").read_bytes()
    put(folder / "vectors", data[:-1])
    with pytest.raises(FormatError, match="the header promises 20 rows"):
        ef.read(folder)


@pytest.mark.parametrize("name", ["table", "floret"])
def test_mutants(name: str, tmp_path: Path) -> None:
    chosen, folder = random.Random(3), Path(shutil.copytree(GOLDEN / name, tmp_path / "f"))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    read_at_all = 0
    for _ in range(150):
        bad = chosen.choice(sorted(files))
        mutant = bytearray(files[bad])
        for _ in range(chosen.randint(1, 3)):
            at = chosen.randrange(len(mutant)) if mutant else 0
            mutant[at : at + 1] = bytes([chosen.choice([0, 1, 127, 128, 255, 34, 48])])
        put(folder / bad, bytes(mutant))
        try:
            ef.read(folder, unicode_errors="replace")
            read_at_all += 1
        except EmbedFreezeError:
            pass
        put(folder / bad, files[bad])
    assert read_at_all > 10
