"""`inspect` as a diagnosing tool: what it says of odd, wrong and damaged files, and how it ends."""

import bz2
import gzip
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from samples import child, glove_bytes, put, word2vec_bytes
from test_memory import MEASURE, MEGABYTE

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import FileError, FormatError
from embedfreeze.formats import word2vec
from embedfreeze.formats.hdf5 import generic as hdf5
from embedfreeze.formats.inspecting.diagnosis import Refusal, diagnose
from embedfreeze.formats.inspecting.inspection import Inspection
from embedfreeze.formats.inspecting.remarks import KINDS
from embedfreeze.formats.stores import store
from embedfreeze.formats.texts import text

ROWS = 200
TOKENS = [b"Token%d" % i for i in range(ROWS)]
Matrix = npt.NDArray[np.float32]


def values(rows: int = ROWS, dim: int = 3) -> Matrix:
    return np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)


def found(path: Path, **options: object) -> dict[str, str]:
    """The messages by their kinds."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is found is not said a second time
        inspection = ef.inspect(path, **options)
    assert {finding.kind for finding in inspection.findings} <= set(KINDS)
    assert len({finding.kind for finding in inspection.findings}) == len(inspection.findings)
    return {finding.kind: finding.message for finding in inspection.findings}


def problem_of(error: Exception, path: Path) -> str:
    """What an error says, without the path, which stands before it in a diagnosis."""
    return str(error).removeprefix(f"{path}: ")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return status, out


def test_a_healthy_file_has_no_findings(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", glove_bytes(TOKENS, values()))
    assert found(path) == {}
    inspection = ef.inspect(path)
    assert (inspection.rows, inspection.loadable, inspection.problem) == (ROWS, True, None)


# ---- tokens --------------------------------------------------------------------------------------

CHARACTERS = {
    "a b": ("token-space", "U+0020"),
    "a\x1bb": ("token-control-character", "U+001B"),
    "a\tb": ("token-control-character", "U+0009"),
    "a\x9fb": ("token-control-character", "U+009F"),
    "a\x85": ("token-next-line", "U+0085"),
    "a\u00a0b": ("token-no-break-space", "U+00A0"),
    "\u2028": ("token-line-separator", "U+2028"),
    "\u3000": ("token-ideographic-space", "U+3000"),
    "a\u2009b": ("token-unicode-space", "U+2009"),
    "a\u200bb": ("token-zero-width", "U+200B"),
    "a\u00ad": ("token-zero-width", "U+00AD"),
    "\u200f": ("token-direction-mark", "U+200F"),
    "x\ufeff": ("token-byte-order-mark", "U+FEFF"),
    "a\ufffdb": ("token-replacement-character", "U+FFFD"),
}


@pytest.mark.parametrize("token", CHARACTERS)
@pytest.mark.parametrize("size", [64, 1 << 24])
def test_a_character_in_a_token(
    token: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (text, word2vec, hdf5, store):
        monkeypatch.setattr(module, "BATCH_BYTES", size)
    kind, code = CHARACTERS[token]
    tokens = [*TOKENS[:52], token.encode(), *TOKENS[52:]]
    path = put(tmp_path / "f.txt", glove_bytes(tokens, values(ROWS + 1)))
    (message,) = found(path).values()
    assert message.startswith(f"token on line 53 contains {code} (")
    assert message.endswith(f": {token!r}")
    tokens += [token.encode() + b"1"]
    binary = word2vec_bytes(tokens, values(ROWS + 2))
    if " " not in token:
        inspection = ef.inspect(put(tmp_path / "f.bin", binary))
        (remark,) = inspection.findings
        assert (remark.kind, remark.count, remark.token) == (kind, 2, token)
        assert remark.place == {"offset": binary.index(token.encode() + b" ")}
        assert remark.message.endswith("; 2 tokens do")


def test_characters_agree_with_str(tmp_path: Path) -> None:
    """Of all characters of the first plane, those that are remarked on are those of the table."""
    codes = [code for code in range(1, 1 << 16) if not 0xD800 <= code < 0xE000 and code != 10]
    path = tmp_path / "f.safetensors"
    ef.write(ef.Embeddings([f"T{chr(code)}" for code in codes], values(len(codes))), path)
    counts = {f.kind: f.count for f in ef.inspect(path).findings}
    cut = [f"T{chr(code)}" for code in codes]
    cut = [token for token in cut if token.split() != [token] or token.splitlines() != [token]]
    spaces = ("next-line", "no-break-space", "line-separator", "ideographic-space", "space")
    spaced = sum(counts[f"token-{name}"] for name in (*spaces, "unicode-space"))
    assert spaced == len([t for t in cut if t[1] not in "\t\x0b\x0c\r\x1c\x1d\x1e\x1f"])
    assert counts["token-control-character"] == 32 + 32 - 2 + 1 - 1
    assert counts["token-replacement-character"] == 1


def test_bytes_that_are_no_characters(tmp_path: Path) -> None:
    tokens = [b"caf\xe9", b"\xc2", b"\xa0", b"\xe2\x80", b"\xa8", b"e\xcc\x81", b"", b"x" * 2000]
    binary = word2vec_bytes([*TOKENS, *tokens], values(ROWS + 8))
    path = put(tmp_path / "f.bin", binary)
    told = found(path)
    assert set(told) == {"token-not-utf8", "token-not-nfc", "token-empty", "token-long"}
    assert told["token-not-utf8"].endswith("'caf\\\\xe9'; 5 tokens are so")
    assert "unicode_errors=" in told["token-not-utf8"]
    assert told["token-not-nfc"].endswith("'e\u0301'")
    assert f"offset {binary.index(b'x' * 2000)} is longer than 1000 bytes" in told["token-long"]
    assert ef.inspect(path).loadable


def test_repeated_tokens(tmp_path: Path) -> None:
    tokens = [*TOKENS, b"Token7", b"Token9", b"Token7"]
    path = put(tmp_path / "f.txt", glove_bytes(tokens, values(ROWS + 3)))
    assert found(path) == {
        "repeated-tokens": "repeated tokens: 3 (1.5 %); the first is 'Token7' on line 201, which "
        "row 7 (from 0) has too: on_duplicate= (--on-duplicate) chooses"
    }


@pytest.mark.parametrize(
    ("prefix", "mark"),
    [
        ("/c/en/", "/c/en/"),
        ("\u2581", "\u2581"),
        ("##", "##"),
        ("\u0120", "\u0120"),
        ("__label__", "__label__"),
    ],
)
def test_marks_of_keys(prefix: str, mark: str, tmp_path: Path) -> None:
    tokens = [f"{prefix if i % 2 else ''}Token{i}".encode() for i in range(ROWS)]
    path = put(tmp_path / "f.txt", glove_bytes(tokens, values()))
    assert found(path)["marker"].startswith(f"50.0 % of the tokens are as with {mark!r}: ")


def test_kinds_of_tokens(tmp_path: Path) -> None:
    spoken = [f"Token{i}_{'NOUN' if i % 2 else 'ADJ'}".encode() for i in range(ROWS)]
    path = put(tmp_path / "f.txt", glove_bytes(spoken, values()))
    assert "100.0 % of the tokens are as with '_NOUN'" in found(path)["marker"]
    lower = [b"</s>", *(b"token%d" % i for i in range(ROWS)), "stra\u00dfe".encode()]
    path = put(tmp_path / "f.txt", glove_bytes(lower, values(ROWS + 2)))
    assert found(path) == {
        "special-first": "row 0 is '</s>', no word",
        "lower-case": "all tokens are lower case: the default match stages find your capitals",
    }
    path = put(tmp_path / "f.txt", glove_bytes([*lower, "\u00c9".encode()], values(ROWS + 3)))
    assert set(found(path)) == {"special-first"}


# ---- values --------------------------------------------------------------------------------------


def test_unit_length_and_zero_rows(tmp_path: Path) -> None:
    matrix = values()
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix[49:98] = 0
    path = put(tmp_path / "f.txt", glove_bytes(TOKENS, matrix))
    assert found(path) == {
        "zero-rows": "zero rows: 49 (24.5 %); the first is 'Token49' on line 50",
        "unit-length": "vectors are unit length",
    }
    matrix[3] *= 1.01
    assert set(found(put(tmp_path / "f.txt", glove_bytes(TOKENS, matrix)))) == {"zero-rows"}


def test_a_row_of_the_smallest_numbers_is_not_zero(tmp_path: Path) -> None:
    matrix = values()
    matrix[5], matrix[6] = [1e-45, 0, 0], [0, 0, -0.0]
    (finding,) = ef.inspect(put(tmp_path / "f.bin", word2vec_bytes(TOKENS, matrix))).findings
    assert (finding.kind, finding.count, finding.token) == ("zero-rows", 1, "Token6")


def test_values_that_could_be_smaller(tmp_path: Path) -> None:
    half = values().astype(np.float16).astype(np.float32)
    bfloat = ((values() * np.float32(1e-9)).view(np.uint32) & np.uint32(0xFFFF0000)).view(
        np.float32
    )
    whole = np.rint(values() * 100)
    for matrix, kind in ((half, "float16"), (bfloat, "bfloat16"), (whole, "integer")):
        path = put(tmp_path / "f.txt", glove_bytes(TOKENS, matrix))
        assert set(found(path)) == {f"{kind}-values"}
        if kind != "integer":
            assert (ef.read(path, dtype=kind).matrix.astype(np.float32) == matrix).all()


def test_constant_and_repeated_vectors(tmp_path: Path) -> None:
    matrix = values()
    matrix[10], matrix[20], matrix[30], matrix[31] = 0.5, matrix[7], matrix[7], matrix[8]
    path = put(tmp_path / "f.txt", glove_bytes(TOKENS, matrix))
    assert found(path) == {
        "constant-rows": "rows with one value throughout: 1 (0.5 %); the first is 'Token10' on "
        "line 11",
        "repeated-vectors": "rows that repeat the vector of another: 3 (1.5 %), without zero rows",
    }


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    matrix = values()
    matrix[9, 1] = np.nan
    path = put(tmp_path / "f.txt", glove_bytes(TOKENS, matrix))
    (finding,) = ef.inspect(path).findings
    assert (finding.kind, finding.count, finding.place) == ("not-finite", 1, {"line": 10})
    assert "the first is 'Token9' at line 10" in finding.message


# ---- names, headers, damage ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_a_packed_file_under_its_own_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"f.txt.{suffix}"
    ef.write(ef.Embeddings([t.decode() for t in TOKENS], values()), path)
    assert found(path) == {}


def test_names_that_say_something_else(tmp_path: Path) -> None:
    data, binary = glove_bytes(TOKENS, values()), word2vec_bytes(TOKENS, values())
    cases = {
        "f.bin": (gzip.compress(binary), "gzip under a .bin name"),
        "g.bin": (data, "glove under a .bin name"),
        "f.txt.gz": (data, "glove under a .gz name"),
        "f.txt": (binary, "word2vec under a .txt name"),
    }
    for name, (content, message) in cases.items():
        told = found(put(tmp_path / name, content))
        assert told == {"name": f"{message}: the content decides how it is read"}
    for name in ("f.vec", "f.txt", "f", "f.840B", "f.unknown"):
        assert found(put(tmp_path / name, data)) == {}
    for name in ("h.txt.gz", "h.gz", "h"):
        assert found(put(tmp_path / name, gzip.compress(data))) == {}


def test_a_header_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path / "f.vec", b"400000 3\n" + glove_bytes(TOKENS[:9], values(9)))
    assert list(found(path)) == ["header-rows"]
    status, out = run(capsys, "inspect", path)
    assert status == 0
    assert "  found   the header says 400000 rows, found 9: " in out


def test_rows_that_are_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All are counted, and what is said of the first is what reading says."""
    lines = glove_bytes(TOKENS, values()).split(b"\n")
    lines[120], lines[150] = b"Token120 1 2", b"Token150 1 2 x"
    path = put(tmp_path / "f.txt", b"\n".join(lines))
    with pytest.raises(FormatError) as caught:
        ef.read(path)
    inspection = ef.inspect(path)
    assert (inspection.loadable, inspection.problem) == (False, problem_of(caught.value, path))
    (finding,) = inspection.findings
    assert (finding.kind, finding.count, finding.place) == ("bad-rows", 2, {"line": 121})
    assert ef.inspect(path, scan=False).loadable
    status, out = run(capsys, "inspect", path)
    assert status == 4
    assert "  problem cannot be loaded: line 121" in out
    status, out = run(capsys, "inspect", path, "--json")
    assert (status, json.loads(out)["loadable"]) == (4, False)
    assert run(capsys, "inspect", path, "--no-scan")[0] == 0


def test_packed_data_that_ends_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "STREAM_BYTES", 1 << 16)
    rows = 20_000
    tokens = [b"Token%d" % i for i in range(rows)]
    packed = gzip.compress(glove_bytes(tokens, values(rows, 10)), 1)
    path = put(tmp_path / "f.txt.gz", packed[: len(packed) - 5000])
    with pytest.raises(FormatError, match="cannot be read to its end") as caught:
        ef.read(path)
    status, out = run(capsys, "inspect", path, "--json")
    told = json.loads(out)
    assert (status, told["loadable"]) == (4, False)
    assert told["problem"] == problem_of(caught.value, path)
    assert told["rows"] is None


def test_rows_of_packed_data_are_counted(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt.gz", gzip.compress(glove_bytes(TOKENS, values())))
    assert ef.inspect(path).rows == ROWS
    assert ef.inspect(path, scan=False).rows is None


def test_a_store_whose_bytes_changed(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    ef.write(ef.Embeddings([t.decode() for t in TOKENS], values()), path)
    assert ef.inspect(path).loadable
    data = bytearray(path.read_bytes())
    at = data.index(values().tobytes())
    data[at + 100] ^= 1
    put(path, bytes(data))
    inspection = ef.inspect(path)
    assert inspection.problem is not None
    assert "block 0" in inspection.problem


# ---- files that are something else ---------------------------------------------------------------


def test_files_that_cannot_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        "page.txt": (b"<!DOCTYPE html><html></html>", "a web page"),
        "pointer.bin": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        "paper.vec": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
        "empty": (b"", "the file is empty"),
        "pickle.bin": (pickle.dumps({"a": [1.0]}), "pickle"),
        "model.gguf": (b"GGUF\3\0\0\0", "a GGUF model"),
        "words.txt": (b"the\nof\n" * 50, "a list of tokens without numbers"),
        "words.floret": (b"3 2 3 6 1 2166136261 < >\n0 1 2 \n1 3 4 \n2 5 6 \n", "floret's table"),
        "cut.bin": (word2vec_bytes(TOKENS, values())[:999], "the file is truncated"),
    }
    for name, (content, what) in cases.items():
        path = put(tmp_path / name, content)
        with pytest.raises(FileError) as caught:
            ef.inspect(path)
        status, out = run(capsys, "inspect", path)
        expected = 4 if isinstance(caught.value, FormatError) else 3
        assert status == expected
        assert out.startswith(f"{path}\n")
        assert what in out
        status, out = run(capsys, "inspect", path, "--json")
        told = json.loads(out)
        kind = type(caught.value).__name__
        assert (status, told["loadable"], told["error"]) == (expected, False, kind)
        assert problem_of(caught.value, path) == told["problem"]
    assert "pickle: not opened" in run(capsys, "inspect", tmp_path / "pickle.bin")[1]
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", b"\0" * 64)
    assert "a PyTorch file, pickle: not opened" in run(capsys, "inspect", tmp_path / "model.pt")[1]
    status, out = run(capsys, "inspect", tmp_path / "missing")
    assert status == 3
    assert out == (
        f"{tmp_path}/missing\n  problem cannot be loaded: cannot be read: No such file or "
        f"directory: check the path\n"
    )


def test_several_matrices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["one"], file["two"] = values(), values()
    status, out = run(capsys, "inspect", tmp_path / "f.h5")
    assert status == 4
    assert "--member" in out
    assert "one [200, 3]" in out
    assert "two [200, 3]" in out


def test_a_refusal_says_where(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1 2\nb 3\nc 4 5\nd 6 7\n")
    refused = diagnose(path)
    assert isinstance(refused, Refusal)
    assert (refused.format, refused.place["line"], refused.error) == ("glove", 2, "FormatError")
    assert refused.file_bytes == path.stat().st_size
    assert isinstance(diagnose(put(tmp_path / "g.txt", b"a 1 2\nb 3 4\n")), Inspection)


def test_nothing_of_a_file_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = [*TOKENS, b"\x1b[31m", b"\x1b[31m"]
    path = put(tmp_path / "f.bin", word2vec_bytes(tokens, values(ROWS + 2)))
    assert "\x1b" not in run(capsys, "inspect", path)[1]


def test_what_a_program_gets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = [*TOKENS, b"a\xc2\xa0b"]
    path = put(tmp_path / "f.txt", glove_bytes(tokens, values(ROWS + 1)))
    status, out = run(capsys, "inspect", path, "--json")
    told = json.loads(out)
    assert (status, told["loadable"], told["problem"], told["rows"]) == (0, True, None, ROWS + 1)
    assert told["findings"] == [
        {
            "kind": "token-no-break-space",
            "message": "token on line 201 contains U+00A0 (no-break space: str.split() and "
            "str.splitlines() cut it there): 'a\\xa0b'",
            "count": 1,
            "token": "a\xa0b",
            "place": {"line": 201},
        }
    ]


INSPECT = (
    MEASURE
    + """
warm = sys.argv[2]
ef.inspect(warm)
print(peak_of(lambda: ef.inspect(sys.argv[1])).rows)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".bin", ".h5"])
def test_memory(suffix: str, tmp_path: Path) -> None:
    """A table of 240 MB takes a part of that to be inspected; the tokens alone are kept."""
    rows = 50_000 if suffix == ".txt.gz" else 200_000  # packing takes long
    path = tmp_path / f"f{suffix}"
    ef.write(ef.Embeddings([f"Token{i}" for i in range(rows)], values(rows, 300)), path)
    warm = tmp_path / f"warm{suffix}"
    ef.write(ef.Embeddings([f"Token{i}" for i in range(9)], values(9, 300)), warm)
    grown, found_rows = map(int, child(INSPECT, path, warm).split())
    assert found_rows == rows
    assert grown < 150 * MEGABYTE


def test_bzip2_is_packed_or_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", bz2.compress(glove_bytes(TOKENS, values())))
    told = diagnose(path)
    assert told.container == "bz2" or "bzip2" in str(told)
    assert os.listdir(tmp_path) == ["f.txt"]
