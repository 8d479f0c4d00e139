"""Vectors from n-grams in the compiled kernel, against plain Python.

Buffers end at a page that may not be touched, as in test_kernel.py; these tests run under the
sanitizers too.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import bits, table
from test_kernel import guarded, guarded_array, joined

from embedfreeze import _kernel

FLOAT = np.float32


def spelled_out(text: bytes) -> list[bytes]:
    """The characters as fastText cuts them: a byte and those behind it that continue it."""
    cut = [i for i, byte in enumerate(text) if i == 0 or byte & 0xC0 != 0x80]
    return [text[a:b] for a, b in zip(cut, [*cut[1:], len(text)], strict=True)]


def fnv(text: bytes) -> int:
    value = 2166136261
    for byte in text:
        value = (value ^ (byte + 0xFFFFFF00 if byte > 127 else byte)) * 16777619 % 2**32
    return value


def fasttext_row(
    rows: np.ndarray, words: int, ngrams: tuple[int, int, int], own: int, token: bytes, kept: Any
) -> np.ndarray:
    minn, maxn, buckets = ngrams
    characters = spelled_out(b"<" + token + b">")
    chosen = [own] if own >= 0 else []
    for first in range(len(characters)):
        for last in range(first + 1, min(first + maxn, len(characters)) + 1):
            alone = last == first + 1 and (first == 0 or last == len(characters))
            if last - first < minn or alone or token == b"</s>" or not buckets:
                continue
            bucket = fnv(b"".join(characters[first:last])) % buckets
            if kept is None or bucket in kept:
                chosen.append(words + (bucket if kept is None else kept[bucket]))
    total = np.zeros(rows.shape[1], FLOAT)
    for row in chosen:
        total = total + rows[row]
    return total * FLOAT(1 / len(chosen)) if chosen else total


def subword_rows(
    tokens: list[bytes],
    own: list[int],
    ngrams: tuple[int, int, int],
    matrix: np.ndarray,
    words: int,
    kept: dict[int, int] | None = None,
) -> np.ndarray:
    """What the kernel makes of them, from rows that stand at an odd address."""
    minn, maxn, buckets = ngrams
    target = guarded_array(np.full(matrix.shape[1] * len(tokens), 7), FLOAT)
    pruned: tuple[Any, Any] = (None, None)
    if kept is not None:
        pruned = (
            guarded_array(sorted(kept), np.int32),
            guarded_array([kept[bucket] for bucket in sorted(kept)], np.int32),
        )
    values = guarded(b"x" + matrix.tobytes())
    shape = (1, len(matrix), matrix.shape[1])
    bad = _kernel.subword_rows(
        (*joined(tokens), guarded_array(own, np.int64)),
        (minn, maxn, words, buckets, *pruned),
        (values, *shape, b"", b"", 0),
        target,
    )
    assert bad == -1
    return target.reshape(len(tokens), matrix.shape[1])


token_bytes = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=8).map(str.encode),
    st.sampled_from([b"", b"</s>", b"\x80", b"a\xe2\x82", b"\xff\xfe", b"<", b">", b"x" * 300]),
)


@given(
    st.lists(token_bytes, max_size=6),
    st.integers(0, 4),
    st.integers(-1, 6),
    st.integers(0, 9),
    st.none() | st.dictionaries(st.integers(0, 9), st.integers(0, 8)),
    st.data(),
)
def test_fasttext_rows(
    tokens: list[bytes], minn: int, maxn: int, buckets: int, kept: Any, data: st.DataObject
) -> None:
    words = 3
    matrix = table(words + 9, 5, seed=1)
    own = [data.draw(st.integers(-1, words - 1)) for _ in tokens]
    ngrams = (minn, maxn, buckets)
    with np.errstate(all="ignore"):
        expected = [
            fasttext_row(matrix, words, ngrams, row, token, kept)
            for row, token in zip(own, tokens, strict=True)
        ]
    found = subword_rows(tokens, own, ngrams, matrix, words, kept)
    shown = np.array(expected, FLOAT).reshape(found.shape)
    assert np.array_equal(np.isnan(found), np.isnan(shown))
    assert bits(np.nan_to_num(found)) == bits(np.nan_to_num(shown))


@given(st.integers(1, 7), st.integers(1, 7), st.booleans(), st.data())
def test_quantised_rows(dim: int, step: int, normed: bool, data: st.DataObject) -> None:
    step = min(step, dim)
    parts, rows = -(-dim // step), 5
    codes = np.array(
        data.draw(st.lists(st.integers(0, 255), min_size=rows * parts, max_size=rows * parts)),
        np.uint8,
    ).reshape(rows, parts)
    centroids = np.random.default_rng(dim).standard_normal(256 * dim).astype(FLOAT)
    norms = np.random.default_rng(step).standard_normal(rows).astype(FLOAT)
    matrix = np.zeros((rows, dim), FLOAT)
    for part in range(parts):
        low, high = part * step, min(dim, part * step + step)
        table_of_part = centroids[256 * low : 256 * high].reshape(256, high - low)
        matrix[:, low:high] = table_of_part[codes[:, part]]
    if normed:
        matrix *= norms[:, None]
    tokens, own, words = [b"ab", b"caf\xc3\xa9", b""], [0, 1, -1], 2
    target = guarded_array(np.zeros(3 * dim), FLOAT)
    bad = _kernel.subword_rows(
        (*joined(tokens), guarded_array(own, np.int64)),
        (1, 3, words, 3, None, None),
        (
            guarded(centroids.tobytes()),
            0,
            rows,
            dim,
            guarded(codes.tobytes()),
            guarded(norms.tobytes()) if normed else b"",
            step,
        ),
        target,
    )
    assert bad == -1
    assert bits(target) == bits(subword_rows(tokens, own, (1, 3, 3), matrix, words))


@pytest.mark.parametrize("own", [3, 2**31, 2**62, 2**63 - 1])
def test_rows_that_the_matrix_has_not(own: int) -> None:
    matrix, target = guarded(bytes(3 * 4 * 2)), guarded(bytes(2 * 4 * 2))
    tokens = (*joined([b"a", b"b"]), np.array([0, own]))
    none = (3, 6, 3, 0, None, None)
    rows = (matrix, 0, 3, 2, b"", b"", 0)
    assert _kernel.subword_rows(tokens, none, rows, target) == 1
    many = (1, 6, 3, 10, None, None)  # the matrix ends before the rows of n-grams
    assert _kernel.subword_rows((*joined([b"a"]), np.array([0])), many, rows, target) == 0
    kept = (1, 6, 3, 1, np.array([0], np.int32), np.array([own % 2**31], np.int32))
    assert _kernel.subword_rows((*joined([b"a"]), np.array([0])), kept, rows, target) == 0


HUGE = (-(2**63), 2**63 - 1, -1, 0, 2**62, 2**61, 2**32, 7)


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("at", ["offset", "rows", "dim", "step", "minn", "maxn", "words"])
def test_no_number_leads_out_of_the_buffers(at: str, huge: int) -> None:
    """An error, or rows: reading or writing outside ends the process."""
    usual = {"offset": 0, "rows": 3, "dim": 2, "step": 1, "minn": 1, "maxn": 3, "words": 2}
    n = {**usual, at: huge}
    for codes in (b"", guarded(bytes(6))):
        tokens = (*joined([b"a"]), guarded_array([0], np.int64))
        values, target = guarded(bytes(4 * 2 * 256 if codes else 24)), guarded(bytes(8))
        try:
            _kernel.subword_rows(
                tokens,
                (n["minn"], n["maxn"], n["words"], 1, None, None),
                (values, n["offset"], n["rows"], n["dim"], codes, b"", n["step"]),
                target,
            )
        except ValueError:
            continue


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("at", ["offset", "rows", "dim", "hashes", "minn", "maxn"])
def test_no_number_of_floret_leads_out(at: str, huge: int) -> None:
    usual = {"offset": 0, "rows": 3, "dim": 2, "hashes": 2, "minn": 1, "maxn": 3}
    n = {**usual, at: huge}
    try:
        _kernel.floret_rows(
            joined([b"<a>"]),
            (n["minn"], n["maxn"], n["hashes"], 0),
            (guarded(bytes(24)), n["offset"], n["rows"], n["dim"]),
            guarded(bytes(8)),
        )
    except ValueError:
        assert at != "maxn" or huge == 7


def test_buffers_that_are_too_small() -> None:
    tokens = (*joined([b"a", b"b"]), np.zeros(2, np.int64))
    ngrams, rows = (1, 3, 2, 1, None, None), (guarded(bytes(24)), 0, 3, 2, b"", b"", 0)
    with pytest.raises(ValueError, match="target needs 4 items"):
        _kernel.subword_rows(tokens, ngrams, rows, guarded(bytes(8)))
    with pytest.raises(ValueError, match="own needs 2 items"):
        _kernel.subword_rows((*tokens[:2], b""), ngrams, rows, guarded(bytes(16)))
    bad = (b"ab", np.array([0, 3, 2]), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="offset 1 leaves the blob"):
        _kernel.subword_rows(bad, ngrams, rows, guarded(bytes(16)))
    pruned = (1, 3, 2, 1, np.zeros(2, np.int32), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="places needs 2 items"):
        _kernel.subword_rows(tokens, pruned, rows, guarded(bytes(16)))
    coded = (guarded(bytes(2048)), 0, 3, 2, bytes(6), bytes(8), 1)
    with pytest.raises(ValueError, match="norms needs 3 items"):
        _kernel.subword_rows(tokens, ngrams, coded, guarded(bytes(16)))
    with pytest.raises(ValueError, match="hashes needs 2 items"):
        _kernel.murmur_tokens(*joined([b"a", b"b"]), 1, guarded(bytes(8)))


def murmur64(text: bytes, seed: int) -> int:
    m, mask = 0xC6A4A7935BD1E995, 2**64 - 1
    h = seed ^ len(text) * m & mask
    for i in range(0, len(text) - 7, 8):
        k = int.from_bytes(text[i : i + 8], "little") * m & mask
        h = (h ^ (k ^ k >> 47) * m & mask) * m & mask
    if rest := text[len(text) // 8 * 8 :]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 47) * m & mask
    return h ^ h >> 47


def murmur_tokens(tokens: list[bytes], seed: int) -> list[int]:
    hashes = guarded_array([0] * len(tokens), np.uint64)
    _kernel.murmur_tokens(*joined(tokens), seed, hashes)
    return hashes.tolist()


@given(st.lists(st.binary(max_size=40), max_size=9), st.integers(0, 2**32 - 1))
def test_murmur(tokens: list[bytes], seed: int) -> None:
    assert murmur_tokens(tokens, seed) == [murmur64(token, seed) for token in tokens]


def test_murmur_of_known_words() -> None:
    """spaCy's documentation gives the first."""
    assert murmur_tokens([b"coffee", b"a"], 1) == [3197928453018144401, 11901859001352538922]


@given(st.lists(st.binary(max_size=9).filter(lambda t: b"\0" not in t), max_size=9), st.data())
def test_find_entries(tokens: list[bytes], data: st.DataObject) -> None:
    tail, start = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 3))
    entries = b"".join(token + bytes(1 + tail) for token in tokens)
    cut = data.draw(st.integers(0, len(entries)))
    room = data.draw(st.integers(0, 10))
    spans = guarded_array(np.zeros((room, 2)), np.int64).reshape(-1, 2)
    count, end = _kernel.find_entries(guarded(bytes(start) + entries[:cut]), start, tail, spans)
    expected, at = [], start
    for token in tokens[:room]:
        if at + len(token) + 1 + tail > start + cut:
            break
        expected.append([at, len(token)])
        at += len(token) + 1 + tail
    assert spans[:count].tolist() == expected
    assert end == at
    for numbers in ((-1, 0), (start + cut + 1, 0), (0, -1)):
        with pytest.raises(ValueError, match="start|tail"):
            _kernel.find_entries(bytes(start + cut), *numbers, spans)
