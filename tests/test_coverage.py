"""Coverage: the numbers by type and by token, and the table that shows them."""

from pathlib import Path

import numpy as np
import pytest
from samples import put

import embedfreeze as ef
from embedfreeze.coverage import Coverage


def covered(tmp_path: Path, counts: dict[str, int] | None, **options: object) -> Coverage:
    path = put(tmp_path / "f.txt", b"king 1 1\nqueen 2 2\nthe 3 3\n[UNK] 4 4\nking 5 5\n")
    v = ef.Vocabulary(["king", "King", "zzz", "yyy", "the"], counts=counts)
    found = ef.load(path, v, **options).coverage
    assert found is not None
    return found


COUNTS = {"king": 5, "King": 2, "zzz": 1, "yyy": 30, "the": 62, "elsewhere": 1000}


def test_by_type(tmp_path: Path) -> None:
    c = covered(tmp_path, None)
    assert (c.total(), c.found(), c.found("exact"), c.found("lower")) == (5, 3, 2, 1)
    assert c.share() == 0.6
    assert c.missing() == [("zzz", None), ("yyy", None)]
    assert c.missing(1) == [("zzz", None)]
    assert c.missing_ids.tolist() == [4, 5]
    assert c.stage_of_id.tolist() == [-2, -2, 0, 1, -1, -1, 0]
    assert c.special_in_file == ("[UNK]",)
    assert c.repeated == 1
    assert c.to_dict() == {"type": {"total": 5, "found": 3, "stages": {"exact": 2, "lower": 1}}}
    assert repr(c) == "3 of 5 types found"
    for call in (
        lambda: c.total("token"),
        lambda: c.found(by="token"),
        lambda: c.share(by="token"),
    ):
        with pytest.raises(ValueError, match="needs a vocabulary with counts"):
            call()
    with pytest.raises(ValueError, match="tuple"):
        c.found("stem")


def test_by_token(tmp_path: Path) -> None:
    c = covered(tmp_path, COUNTS)
    assert (c.total("token"), c.found(by="token")) == (100, 69)
    assert (c.found("exact", by="token"), c.found("lower", by="token")) == (67, 2)
    assert c.share(by="token") == 0.69
    assert c.missing() == [("yyy", 30), ("zzz", 1)]
    assert c.to_dict()["token"] == {"total": 100, "found": 69, "stages": {"exact": 67, "lower": 2}}


def test_table(tmp_path: Path) -> None:
    assert str(covered(tmp_path, COUNTS)).split("\n") == [
        "stage    types        tokens",
        "exact        2  40.0%    67  67.0%",
        "lower        1  20.0%     2   2.0%",
        "found        3  60.0%    69  69.0%",
        "missing      2  40.0%    31  31.0%",
        "most frequent missing: 'yyy' (30), 'zzz' (1)",
        "special tokens that the file has too (its rows are not taken): '[UNK]'",
    ]
    assert str(covered(tmp_path, None, match=("lower",))).split("\n") == [
        "stage    types",
        "lower        3  60.0%",
        "found        3  60.0%",
        "missing      2  40.0%",
        "missing: 'zzz', 'yyy'",
        "special tokens that the file has too (its rows are not taken): '[UNK]'",
    ]


def test_an_empty_vocabulary_is_covered() -> None:
    v = ef.Vocabulary([], counts={})
    c = Coverage(v, ("exact",), np.array([-2, -2], np.int8))
    assert (c.total(), c.share(), c.share(by="token"), c.missing()) == (0, 1.0, 1.0, [])
    assert "100.0%" in str(c)


def test_equal_counts_stay_in_the_order_of_ids(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1\nb 2\n")
    tokens = [f"t{i}" for i in range(500)]
    v = ef.Vocabulary(tokens, counts={token: i % 3 for i, token in enumerate(tokens)})
    missing = ef.load(path, v).coverage
    assert missing is not None
    assert [t for t, _ in missing.missing()] == [*tokens[2::3], *tokens[1::3], *tokens[::3]]
    assert str(missing).split("\n")[-1].count("(2)") == 5
