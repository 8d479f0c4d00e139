"""JSON of embeddings: its shapes, its numbers and strings as Python's `json` has them, damage."""

import contextlib
import gzip
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, assert_is, bits, put, table

import embedfreeze as ef
from embedfreeze.errors import FormatError
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.jsons import entries as jsonentries
from embedfreeze.formats.jsons import rows as jsonrows
from embedfreeze.formats.verbs import open_reading
from embedfreeze.tokens import Tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*not finite:UserWarning")

GOLDEN = Path(__file__).parent / "golden" / "json"
NAMES = sorted(p.name for p in GOLDEN.iterdir() if p.suffix in (".json", ".jsonl"))
OBJECT = json.loads((GOLDEN / "object.json").read_text("utf-8"))


def as_python_has_it(pairs: dict[str, list[float]]) -> tuple[list[str], np.ndarray]:
    with np.errstate(over="ignore"):
        values = [[np.float32(float(x)) for x in row] for row in pairs.values()]
    return list(pairs), np.array(values, np.float32)


def read(text: str | bytes, tmp_path: Path, **options: object) -> ef.Embeddings:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return ef.read(put(tmp_path / "f.json", data), **options)


def error_of(text: str, tmp_path: Path, **options: object) -> FormatError:
    with pytest.raises(FormatError) as caught:
        read(text, tmp_path, **options)
    assert str(tmp_path / "f.json") in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packed", [False, True])
def test_golden_files(name: str, packed: bool, tmp_path: Path) -> None:
    data = (GOLDEN / name).read_bytes()
    path = put(tmp_path / name, gzip.compress(data) if packed else data)
    tokens, matrix = as_python_has_it(OBJECT)
    assert_is(ef.read(path), tokens, matrix)
    assert ef.inspect(path).format == "json"
    assert_is(ef.read(path, limit=2), tokens[:2], matrix[:2])
    a = ef.load(path, ef.Vocabulary(["\U0001f600", "absent"]), match=("exact",))
    assert bits(a.matrix[2]) == bits(matrix[3])


NUMBERS = st.one_of(
    st.floats().map(json.dumps),
    st.integers(-(10**20), 10**20).map(str),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\Z"),
)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(
    rows=st.dictionaries(
        STRINGS, st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=5
    ),
    spaces=st.lists(st.sampled_from(["", " ", "\n\t "]), min_size=4, max_size=4),
    ascii_only=st.booleans(),
    size=st.sampled_from([1, 7, 1 << 20]),
)
def test_what_is_read_is_what_python_reads(
    rows: dict[str, list[str]],
    spaces: list[str],
    ascii_only: bool,
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    a, b, c, d = spaces
    entries = [
        f"{a}{json.dumps(t, ensure_ascii=ascii_only)}{b}:{c}[{d}{f'{a},{d}'.join(row)}{b}]{c}"
        for t, row in rows.items()
    ]
    text = f"{a}{{{','.join(entries)}}}{b}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonentries, "BLOCK_BYTES", size)
        patch.setattr(jsonrows, "BATCH_BYTES", size)
        found = read(text, tmp_path_factory.mktemp("any"))
    pairs = {t: [float(x) for x in row] for t, row in json.loads(text, parse_int=float).items()}
    tokens, matrix = as_python_has_it(pairs)
    nan = np.isnan(matrix)
    assert_is(found, tokens, np.where(nan, np.float32(np.nan), matrix))


def test_long_tokens_are_no_reason_for_a_large_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonrows, "BATCH_BYTES", 10_000)
    text = json.dumps({f"{i:01000}": [1.0] for i in range(100)})
    source, _, reading = open_reading(put(tmp_path / "f", text.encode()), ReadOptions())
    with source:
        assert max(len(batch.tokens) for batch in reading.batches) <= 10


ODD_NUMBERS = ["+1", ".5", "5.", "01", "-01", "-.5", "1.e5", "nan", "inf", "INF", "-NaN", "1_0"]
OTHERS = ["0x1", "1 2", "", "NaNs", "1e", "--1", "Infinity2", '"1"', "null", "true"]


@pytest.mark.parametrize("number", [*ODD_NUMBERS, *OTHERS])
def test_numbers_that_are_not_of_json(number: str, tmp_path: Path) -> None:
    text = f'{{"a": [1, 2], "b": [1.5, {number}]}}'
    with contextlib.suppress(json.JSONDecodeError):
        assert not isinstance(json.loads(text)["b"][1], float)
    assert error_of(text, tmp_path).offset == 14
    with pytest.warns(UserWarning, match="1 bad row was skipped"):
        e = read(text, tmp_path, on_bad_row="skip")
    assert_is(e, ["a"], np.array([[1, 2]], np.float32))


@pytest.mark.parametrize(
    ("text", "offset", "said"),
    [
        ('{"a": [1, 2], "b": [1]}', 14, "must be 2 numbers of JSON, received 1 numbers"),
        ('{"a": [1, 2], "b": [1, 2', 14, "an entry must be as in"),
        ('{"a": [1, 2], "b', 14, "an entry must be as in"),
        ('{"a": [1, 2], ', 14, "the file is cut off"),
        ('{"a": [1, 2]', 12, "must stand behind an entry"),
        ('{"a": [1, 2]} x', 14, "nothing must stand behind"),
        ('{"a": [1, 2] "b": [1, 2]}', 13, "must stand behind an entry"),
        ('{"a": [1, 2], "b": []}', 14, "an entry must be as in"),
        ('{"a": [1, 2], "\\ud800": [1, 2]}', 14, "a token must be a JSON string"),
        ('{"a": [1, 2], "\\x": [1, 2]}', 14, "a token must be a JSON string"),
        ('[["a", [1, 2]], ["b", 1, 2]]', 16, "an entry must be as in"),
        ('{"token": "a", "v": [1]}\n{"token": "b"}\n', 25, "an entry must be as in"),
    ],
)
def test_damage_is_told_with_its_place(text: str, offset: int, said: str, tmp_path: Path) -> None:
    error = error_of(text, tmp_path)
    assert error.offset == offset
    assert said in str(error)


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '{"a": {"b": [1]}}', '{"tokens": ["a"], "vectors": [[1]]}', '[["a", "b"]]']
)
def test_other_shapes_are_refused_with_those_that_are_read(text: str, tmp_path: Path) -> None:
    assert '{"token": [0.1, 0.2], ...}' in str(error_of(text, tmp_path))


@pytest.mark.parametrize("text", ["[1, 2]", '["a", "b"]', "{}", "[]"])
def test_other_json_is_not_recognised(text: str, tmp_path: Path) -> None:
    assert "; it must be one of" in str(error_of(text, tmp_path))


def test_repeated_keys(tmp_path: Path) -> None:
    text = '{"a": [1], "b": [2], "a": [3]}'
    with pytest.warns(UserWarning, match="1 row repeats"):
        assert read(text, tmp_path).matrix.tolist() == [[1], [2]]
    with pytest.warns(UserWarning, match="1 row repeats"):
        assert read(text, tmp_path, on_duplicate="last").matrix.tolist() == [[2], [3]]
    assert "tokens must differ" in str(error_of(text, tmp_path, on_duplicate="error"))


def test_an_entry_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonentries, "LONGEST_ENTRY", 1000)
    monkeypatch.setattr(jsonentries, "BLOCK_BYTES", 64)
    assert "at most 1000 bytes" in str(error_of('{"a": [1], "b": [' + "1," * 4000, tmp_path))


def test_awkward_tokens_go_round_here_and_in_python(tmp_path: Path) -> None:
    tokens = [*ODD_TOKENS, "", " ", "\0", "a\nb", '":[1', "]", "}", "\udcff", "\U0010ffff"]
    matrix = table(len(tokens), 4)
    path = tmp_path / "f.json"
    ef.write(ef.Embeddings(Tokens.from_strings(tokens), matrix), path)
    e = ef.read(path, unicode_errors="surrogateescape")
    assert list(e.tokens) == tokens
    assert bits(e.matrix) == bits(matrix)
    found = json.loads(path.read_bytes())
    assert list(found) == tokens
    assert bits(np.array([[np.float32(x) for x in row] for row in found.values()])) == bits(matrix)
    with pytest.raises(FormatError, match="must be UTF-8"):
        ef.read(path)


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(0)
    seeds = [(GOLDEN / name).read_bytes() for name in NAMES]
    for _ in range(250):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.choice(b'{}[]",:\\ \n.-0eN\0\xff')
        with warnings.catch_warnings(), contextlib.suppress(FormatError):
            warnings.simplefilter("ignore")
            assert read(bytes(data), tmp_path).matrix.nbytes <= 4 * len(data)
