"""Tokens and TokensBuilder against lists and dicts of plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedfreeze.errors import EmbedFreezeError, FormatError, UnknownTokenError
from embedfreeze.tokens import Tokens, TokensBuilder, build_slots, slot_count, spans_of

STRANGE = ["", " ", "\0", "\0\0", "a\0", "\u00a0", "\u3000x", "\u2028", "\u0085", "\t", "\n", "😀"]
strings = st.one_of(st.text(max_size=9), st.sampled_from([*STRANGE, "a", "b", "the", "The"]))
spelled = st.one_of(
    st.binary(max_size=6), st.sampled_from([b"", b"a", b"the", b"\xff", b"\xc3", "é".encode()])
)


def first_rows(tokens: list[bytes]) -> dict[bytes, int]:
    rows: dict[bytes, int] = {}
    for row, token in enumerate(tokens):
        rows.setdefault(token, row)
    return rows


def all_bytes(tokens: Tokens) -> list[bytes]:
    return [tokens.bytes_at(row) for row in range(len(tokens))]


# ---- Tokens --------------------------------------------------------------------------------------


@given(st.lists(strings, max_size=30), st.lists(strings, max_size=10))
def test_a_sequence_of_str(words: list[str], others: list[str]) -> None:
    tokens = Tokens.from_strings(iter(words))
    assert len(tokens) == len(words)
    assert list(tokens) == words
    assert [tokens[i] for i in range(len(words))] == words
    assert [tokens[-i - 1] for i in range(len(words))] == words[::-1]
    assert list(reversed(tokens)) == words[::-1]
    assert all_bytes(tokens) == [word.encode() for word in words]
    asked = words + others
    rows = first_rows([word.encode() for word in words])
    expected = [rows.get(word.encode(), -1) for word in asked]
    assert tokens.find(asked).tolist() == expected
    assert tokens.find(Tokens.from_strings(asked)).tolist() == expected
    assert [word in tokens for word in asked] == [row >= 0 for row in expected]
    assert tokens.find(asked).dtype == np.int32
    assert tokens.first_not_utf8() is None


@given(st.lists(st.text(st.sampled_from("aé日😀\udc80"), max_size=4)))
def test_strings_are_encoded_one_by_one(words: list[str]) -> None:
    assert all_bytes(Tokens.from_strings(words)) == [
        word.encode("utf-8", "surrogateescape") for word in words
    ]


@given(st.lists(strings, max_size=9), st.slices(9))
def test_slices(words: list[str], part: slice) -> None:
    assert Tokens.from_strings(words)[part] == words[part]


@given(st.lists(spelled, max_size=20))
def test_bytes_survive_as_surrogates(words: list[bytes]) -> None:
    tokens = Tokens.from_bytes(words, "surrogateescape")
    shown = [word.decode("utf-8", "surrogateescape") for word in words]
    assert list(tokens) == shown
    assert all_bytes(Tokens.from_strings(shown)) == words
    rows = first_rows(words)
    assert tokens.find(shown).tolist() == [rows[word] for word in words]


@given(st.lists(spelled, max_size=8))
def test_what_is_not_utf8(words: list[bytes]) -> None:
    tokens = Tokens.from_bytes(words, "strict")
    expected = None
    for row, word in enumerate(words):
        try:
            assert word.decode() == tokens[row]
        except UnicodeDecodeError:
            with pytest.raises(FormatError, match=f"row {row}: tokens must be UTF-8"):
                tokens[row]
            if expected is None:
                with pytest.raises(FormatError, match=f"row {row}: tokens must be UTF-8"):
                    list(tokens)
            expected = row if expected is None else expected
    assert tokens.first_not_utf8() == expected
    shown = [word.decode("utf-8", "replace") for word in words]
    assert list(Tokens.from_bytes(words, "replace")) == shown
    assert all_bytes(Tokens.from_bytes(words, "replace")) == words


@given(st.lists(spelled, max_size=20), st.data())
def test_part_and_take(words: list[bytes], data: st.DataObject) -> None:
    tokens = Tokens.from_bytes(words, "surrogateescape")
    low = data.draw(st.integers(0, len(words)))
    high = data.draw(st.integers(low, len(words)))
    part = tokens.part(low, high)
    assert all_bytes(part) == words[low:high]
    assert list(part) == list(tokens)[low:high]
    rows = first_rows(words[low:high])
    assert part.find(tokens).tolist() == [rows.get(word, -1) for word in words]
    assert part == Tokens.from_bytes(words[low:high], "strict")
    chosen = data.draw(
        st.lists(st.integers(0, len(words) - 1), max_size=9) if words else st.just([])
    )
    assert all_bytes(tokens.take(chosen)) == [words[i] for i in chosen]
    assert all_bytes(tokens.take(np.array(chosen, np.int32))) == [words[i] for i in chosen]
    within = [i - low for i in chosen if low <= i < high]
    assert all_bytes(part.take(within)) == [words[low + i] for i in within]
    assert part.take(within).unicode_errors == "surrogateescape"


def test_rows_that_are_not() -> None:
    tokens = Tokens.from_strings(["a", "b", "c"])
    for row in (3, -4, 2**40):
        with pytest.raises(IndexError, match=f"rows are from 0 to 2, received {row}"):
            tokens[row]
    for row in (1.5, "1", None):
        with pytest.raises(TypeError):
            tokens[row]  # type: ignore[call-overload]
    assert tokens[np.int32(1)] == "b"
    for wrong in ([3], [-1], [0, 2**40]):
        with pytest.raises((IndexError, ValueError), match=r"."):
            tokens.take(wrong)


def test_unknown_tokens() -> None:
    tokens = Tokens.from_strings(["king", "é", "king"])
    assert tokens.index("é") == 1
    assert tokens.index("king") == 0
    for word in ("queen", "", "Kıng", "\ud800", "\udcff"):
        assert word not in tokens
        with pytest.raises(UnknownTokenError) as caught:
            tokens.index(word)
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, EmbedFreezeError)
        assert repr(word) in str(caught.value)
    for thing in (b"king", 0, None, 1.5):
        assert thing not in tokens


def test_equal_tokens() -> None:
    tokens = Tokens.from_strings(["ab", "c", "é"])
    assert tokens == Tokens.from_strings(["ab", "c", "é"])
    assert Tokens.from_strings(["x", "ab", "c", "é", "y"]).part(1, 4) == tokens
    assert tokens != Tokens.from_strings(["a", "bc", "é"])
    assert tokens != Tokens.from_strings(["ab", "c"])
    assert tokens != ["ab", "c", "é"]
    assert Tokens.from_strings([]) == Tokens.from_strings(iter(()))
    with pytest.raises(TypeError):
        hash(tokens)
    assert repr(tokens) == "Tokens(3: 'ab', 'c', 'é')"
    assert repr(Tokens.from_strings("abcd")) == "Tokens(4: 'a', 'b', 'c', ...)"


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)]
)
def test_kinds_of_blobs(kind: type) -> None:
    offsets = np.array([0, 2, 2, 4])
    tokens = Tokens(kind("kéa".encode()), np.array([0, 1, 3, 4]))
    assert list(tokens) == ["k", "é", "a"]
    assert tokens.find(["a", "é", "k", ""]).tolist() == [2, 1, 0, -1]
    assert list(Tokens(kind(b"abcd"), offsets)) == ["ab", "", "cd"]


def test_slots_of_a_store_are_used_and_not_trusted() -> None:
    words = [b"a", b"b", b"c"]
    blob, offsets = b"".join(words), np.arange(4)
    slots, found = build_slots(blob, offsets)
    assert found.tolist() == [-1, -1, -1]
    assert Tokens(blob, offsets, slots=slots).find(["c", "b", "x"]).tolist() == [2, 1, -1]
    emptied = np.where(slots == 1, -1, slots).astype(np.int32)
    assert Tokens(blob, offsets, slots=emptied).find(["a", "b"]).tolist() == [0, -1]
    full = np.zeros(8, np.int32)
    wrong = [np.where(slots == 1, row, slots) for row in (-2, 3, 2**31 - 1, -(2**31))]
    for spoiled in (*wrong, full):
        tokens = Tokens(blob, offsets, slots=spoiled.astype(np.int32), path="f")
        assert tokens.find(["a"]).tolist() == [0]
        with pytest.raises(FormatError, match="f: the index of the tokens must lead to tokens"):
            tokens.find(["a", "b"])
        with pytest.raises(FormatError, match="f: the index of the tokens must lead to tokens"):
            assert "b" in tokens
    with pytest.raises(ValueError, match="power of two"):
        Tokens(blob, offsets, slots=slots[:3]).find(["a"])


def test_spans_that_leave_a_buffer() -> None:
    spans = np.array([[0, 1], [2, 9], [-1, 1]])
    with pytest.raises(ValueError, match="leave the buffer"):
        Tokens.from_spans(b"abc", spans)
    assert Tokens.from_strings(["a"]).find_spans(b"abc", spans).tolist() == [0, -1, -1]


def test_spans_need_not_be_contiguous() -> None:
    spans = np.array([[0, 1, 9], [1, 2, 9]])[:, :2]
    tokens = Tokens.from_spans(b"abc", spans)
    assert list(tokens) == ["a", "bc"]
    assert tokens.find_spans(b"abc", spans).tolist() == [0, 1]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 8, 1000, 1024, 1025])
def test_slot_count(n: int) -> None:
    """A power of two, at least twice the tokens, at least 8, and no larger than needed."""
    slots = slot_count(n)
    assert slots & (slots - 1) == 0
    assert slots >= max(2 * n, 8)
    assert slots == 8 or slots < 4 * n


# ---- TokensBuilder -------------------------------------------------------------------------------


@given(st.lists(st.lists(spelled, max_size=9), max_size=6), st.data())
def test_builder(batches: list[list[bytes]], data: st.DataObject) -> None:
    builder = TokensBuilder()
    rows: dict[bytes, int] = {}
    words: list[bytes] = []
    repeated: list[int] = []
    for batch in batches:
        expected = []
        for word in batch:
            expected.append(rows.get(word, -1))
            if word in rows:
                repeated.append(len(words))
            rows.setdefault(word, len(words))
            words.append(word)
        larger = Tokens.from_bytes([b"before", *batch, b"after"], "strict")
        assert builder.add(larger.part(1, len(batch) + 1)).tolist() == expected
        assert len(builder) == len(words)
    for row, word in enumerate(words):
        assert builder.token(row) == word.decode("utf-8", "backslashreplace")
    also = data.draw(st.sets(st.integers(0, max(len(words) - 1, 0)), max_size=3)) if words else ()
    dropped = np.array(sorted({*repeated, *also}), np.int64)
    tokens = builder.finish(dropped, "surrogateescape")
    kept = [word for row, word in enumerate(words) if row not in dropped]
    assert all_bytes(tokens) == kept
    assert tokens.unicode_errors == "surrogateescape"
    found = Tokens.from_bytes(words, "strict")
    expected_rows = {word: row for row, word in enumerate(kept)}
    assert tokens.find(found).tolist() == [expected_rows.get(word, -1) for word in words]


@pytest.mark.parametrize("expected", [0, 10, 5000, 100_000])
@pytest.mark.parametrize("step", [7, 900, 5000, 20_000])
def test_builder_grows(expected: int, step: int) -> None:
    """Over several doublings of what it holds, from a wrong and from a right expectation."""
    n = 20_000
    words = [b"%d" % (i * 2654435761 % 15_000) for i in range(n)]
    builder = TokensBuilder(expected)
    rows: dict[bytes, int] = {}
    repeated = []
    for low in range(0, n, step):
        batch = words[low : low + step]
        found = builder.add(Tokens.from_bytes(batch, "strict")).tolist()
        for row, word in enumerate(batch, start=low):
            assert found[row - low] == rows.get(word, -1)
            if rows.setdefault(word, row) != row:
                repeated.append(row)
    tokens = builder.finish(np.array(repeated), "strict")
    kept = np.delete(np.array(words, object), repeated).tolist()
    assert all_bytes(tokens) == kept
    assert np.array_equal(tokens.find(tokens), np.arange(len(kept)))


@pytest.mark.parametrize("step", [1, 7, 900, 20_000])
def test_a_builder_of_new_tokens_alone_is_one_that_never_saw_others(step: int) -> None:
    words = [b"%d" % (i * i % 7919) for i in range(20_000)]
    builder, other = TokensBuilder(), TokensBuilder()
    new = list(dict.fromkeys(words))
    other.add(Tokens.from_bytes(new, "strict"))
    seen: set[bytes] = set()
    for low in range(0, len(words), step):
        batch = words[low : low + step]
        found = builder.add_new(Tokens.from_bytes(batch, "strict"))
        for row, word in zip(found.tolist(), batch, strict=True):
            assert (row >= 0) == (word in seen)
            seen.add(word)
        assert len(builder) == len(seen)
    none = np.empty(0, np.int64)
    tokens, expected = builder.finish(none, "strict"), other.finish(none, "strict")
    assert all_bytes(tokens) == new
    assert np.array_equal(tokens.slots, expected.slots)
    assert np.array_equal(tokens.find(tokens), np.arange(len(new)))


@pytest.mark.parametrize("n", [0, 1, 1024, 1025, 3000])
def test_slots_of_a_builder_are_those_of_a_new_index(n: int) -> None:
    """A store holds them, so their number must be what a reader computes."""
    builder = TokensBuilder()
    for low in range(0, n, 100):
        batch = [b"w%d" % i for i in range(low, min(low + 100, n))]
        builder.add(Tokens.from_bytes(batch, "strict"))
    tokens = builder.finish(np.empty(0, np.int64), "strict")
    assert len(tokens.slots) == slot_count(n)
    assert sorted(tokens.slots[tokens.slots >= 0].tolist()) == list(range(n))
    assert np.array_equal(tokens.find(tokens), np.arange(n))


def test_spans_of_offsets() -> None:
    assert spans_of(np.array([3, 5, 5, 9])).tolist() == [[3, 2], [5, 0], [5, 4]]
    assert spans_of(np.array([3])).shape == (0, 2)
