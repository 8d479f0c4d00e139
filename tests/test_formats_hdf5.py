"""HDF5: which dataset, which tokens, and values that NumPy converts."""

import gzip
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from samples import ODD_TOKENS, assert_is, bits, put, spelled, table

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError
from embedfreeze.formats.hdf5 import generic as hdf5

STRING = h5py.string_dtype("utf-8")


def make(path: Path, **datasets: Any) -> Path:
    """An HDF5 file; a list of str becomes strings of variable length."""
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            if isinstance(data, list):
                file.create_dataset(name, data=data, dtype=STRING)
            else:
                file[name] = data
    return path


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        ef.read(path, **options)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["variable", "ascii", "fixed", "fixed-utf8"])
def test_tokens_of_any_string_type(kind: str, tmp_path: Path) -> None:
    tokens = ["king", "caf\u00e9", "a\u00a0b", "New York"] if kind != "ascii" else ["a", "b b"]
    matrix = table(len(tokens), 3)
    encoded = [t.encode() for t in tokens]
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["deep/inside/vectors"] = matrix
        if kind.startswith("fixed"):
            dtype = h5py.string_dtype("utf-8", 9) if kind == "fixed-utf8" else "S9"
            file["names"] = np.array(encoded, dtype)
        else:
            encoding = "ascii" if kind == "ascii" else "utf-8"
            file.create_dataset("names", data=tokens, dtype=h5py.string_dtype(encoding))
        file["other"] = np.arange(4)
    assert_is(ef.read(path), tokens, matrix)
    a = ef.load(path, ef.Vocabulary([tokens[1]]))
    assert bits(a.matrix[2]) == bits(matrix[1])


CONVERSIONS = ["<f8", ">f8", "<f4", ">f4", "<f2", ">f2"]


@pytest.mark.parametrize("stored", CONVERSIONS)
@pytest.mark.parametrize("wanted", ["float32", "float16"])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_values_are_converted_as_numpy_does(stored: str, wanted: str, tmp_path: Path) -> None:
    """HDF5's own conversion makes 0.5 of 0.99999997 and infinity of the largest float32."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 4)) * 10.0 ** rng.integers(-46, 39, (500, 4))
    values[0] = [0.0, -0.0, np.inf, -np.inf]
    values[1] = [np.nan, 1e300, -1e300, 1e-320]
    values[2] = [1 + 2**-24, 1 + 3 * 2**-24, 1 - 2**-25, 1.5 * 2**-149]
    values[3] = [3.4028235677973366e38, 3.4028235e38, 2**-150, 2**-149]
    values[4] = [1 + 2**-11, 1 + 3 * 2**-11, 65520, 65519]
    values[5] = [2**-24, 2**-25, 1.5 * 2**-25, 0.49997]
    matrix = values.astype(stored)
    tokens = [f"t{i}" for i in range(500)]
    path = make(tmp_path / "f.h5", embedding=matrix, tokens=tokens)
    expected = matrix.astype(wanted)
    assert_is(ef.read(path, dtype=wanted), tokens, expected)
    a = ef.load(path, ef.Vocabulary(["t4", "t2", "t0"]), dtype=wanted)
    assert bits(a.matrix[2:]) == bits(expected[[4, 2, 0]])


@pytest.mark.parametrize("batch", [1, 100, 1 << 24])
def test_chunks_and_compression(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "BATCH_BYTES", batch)
    matrix = table(100, 6)
    tokens = [f"t{i}" for i in range(100)]
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=matrix, chunks=(7, 4), compression="gzip", shuffle=True)
        file.create_dataset("t", data=tokens, dtype=STRING, chunks=(9,), compression="lzf")
    assert_is(ef.read(path), tokens, matrix)
    assert_is(ef.read(path, limit=13), tokens[:13], matrix[:13])
    a = ef.load(path, ef.Vocabulary(["t99", "t3", "t4"]))
    assert bits(a.matrix[2:]) == bits(matrix[[99, 3, 4]])
    packed = put(tmp_path / "f.h5.gz", gzip.compress(path.read_bytes()))
    assert_is(ef.read(packed), tokens, matrix)
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.write(path, "inside.h5")
    assert_is(ef.read(tmp_path / "f.zip"), tokens, matrix)


STORAGE: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (7, 4)},
    "one chunk": {"chunks": (100, 6), "compression": "gzip"},
    "gzip": {"chunks": (7, 6), "compression": "gzip", "compression_opts": 9},
    "gzip and shuffle": {"chunks": (9, 5), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (100, 1), "compression": "lzf"},
    "fletcher32": {"chunks": (8, 6), "fletcher32": True},
    "all filters": {"chunks": (8, 6), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "growing": {"chunks": (8, 6), "maxshape": (None, 6)},
}


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("stored", ["<f2", "<f4", ">f4", "<f8", ">f8"])
def test_any_storage_of_any_floats(
    storage: str, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits of NumPy's own conversion, in a group, beside attributes, whatever the batches."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((100, 6)).astype(stored)
    tokens = [f"t{i}" for i in range(100)]
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b/v", data=matrix, **STORAGE[storage])
        file.create_dataset("a/t", data=tokens, dtype=STRING)
        file["a"].attrs["trained"] = "with care"
        file["a/b/v"].attrs["epochs"] = np.arange(9)
    expected = matrix.astype(np.float32)
    for batch in (1, 500, 1 << 24):
        monkeypatch.setattr(hdf5, "BATCH_BYTES", batch)
        assert_is(ef.read(path), tokens, expected)
        assert_is(ef.read(path, limit=13), tokens[:13], expected[:13])
        a = ef.load(path, ef.Vocabulary(["t99", "t3", "t8"]))
        assert bits(a.matrix[2:]) == bits(expected[[99, 3, 8]])
    assert ef.inspect(path).notes == (f"dataset /a/b/v of {np.dtype(stored)}",)


PADDING = {
    "NUL-terminated": (h5py.h5t.STR_NULLTERM, b"\0"),
    "NUL-padded": (h5py.h5t.STR_NULLPAD, b"\0"),
    "space-padded": (h5py.h5t.STR_SPACEPAD, b" "),
}


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("charset", [h5py.h5t.CSET_ASCII, h5py.h5t.CSET_UTF8])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_padding_is_no_part_of_a_token(
    padding: str, charset: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    kind, pad = PADDING[padding]
    tokens = [b" king", b"New York", "caf\u00e9\u3000".encode()]
    stored = h5py.h5t.C_S1.copy()
    stored.set_size(12)
    stored.set_strpad(kind)
    stored.set_cset(charset)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["v"] = table(3, 2)
        dataset = h5py.h5d.create(file.id, b"t", stored, h5py.h5s.create_simple(shape))
        raw = b"".join(token.ljust(12, pad) for token in tokens)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.frombuffer(raw, "S12").copy(), mtype=stored)
    assert_is(ef.read(tmp_path / "f.h5"), tokens, table(3, 2))


def test_soft_links_lead_nowhere_else(tmp_path: Path) -> None:
    """The dataset has its own name; a link to it is neither a second candidate nor a way in."""
    matrix, tokens = table(3, 2), ["a", "b", "c"]
    path = make(tmp_path / "f.h5", inside=matrix, words=tokens)
    with h5py.File(path, "a") as file:
        file["alias"] = h5py.SoftLink("/inside")
        file["lost"] = h5py.SoftLink("/nowhere")
        file["same"] = file["words"]  # a second name of one dataset
        file["group/again"] = file["/"]
    assert_is(ef.read(path), tokens, matrix)
    assert_is(ef.read(path, member="inside"), tokens, matrix)
    refused(path, r"links are not followed: alias -> /inside, lost -> /nowhere", member="alias")


def test_a_link_to_another_file_is_named(tmp_path: Path) -> None:
    make(tmp_path / "real.h5", v=table(3, 2))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x/v"] = h5py.ExternalLink("real.h5", "/v")
    refused(tmp_path / "f.h5", r"links are not followed: x/v -> real\.h5:/v")
    refused(tmp_path / "f.h5", r"links are not followed: x/v -> real\.h5:/v", member="x/v")


def test_rows_that_nobody_wrote(tmp_path: Path) -> None:
    """A few are what HDF5 fills them with; a shape that the file does not hold is refused."""
    with h5py.File(tmp_path / "few.h5", "w") as file:
        v = file.create_dataset("v", (300, 2), "f4", chunks=(100, 2), fillvalue=0.5)
        v[:100] = 1
        file.create_dataset("t", data=[f"t{i}" for i in range(300)], dtype=STRING)
    expected = np.full((300, 2), 0.5, np.float32)
    expected[:100] = 1
    assert bits(ef.read(tmp_path / "few.h5").matrix) == bits(expected)
    for chunks in (None, (1000, 300)):
        with h5py.File(tmp_path / "many.h5", "w") as file:
            file.create_dataset("v", (10**9, 300), "f4", chunks=chunks)
        words = r"received /v \[1000000000, 300\] of 1200000000000 bytes, of which 0 were"
        refused(tmp_path / "many.h5", words, tokens="none")


@pytest.mark.parametrize("bits_of", [(15, 7, 8, 0, 7, 2, 127), (7, 3, 4, 0, 3, 1, 7)])
def test_floats_that_numpy_has_not(bits_of: tuple[int, ...], tmp_path: Path) -> None:
    """bfloat16, and eight bits with four of exponent."""
    *fields, size, bias = bits_of
    stored = h5py.h5t.IEEE_F32LE.copy()
    stored.set_fields(*fields)
    stored.set_size(size)
    stored.set_ebias(bias)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        h5py.h5d.create(file.id, b"v", stored, h5py.h5s.create_simple((3, 2)))
        file.create_dataset("t", data=["a", "b", "c"], dtype=STRING)
    refused(tmp_path / "f.h5", f"IEEE floats.*of {8 * size} bits with {fields[2]} of exponent")


def test_candidates_of_every_kind_are_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["scalar"] = 1.5
        file["nothing"] = h5py.Empty("f4")
        file["pairs"] = np.zeros(2, [("a", "f4"), ("b", "S3")])
        file["cube"] = np.zeros((2, 2, 2), "f4")
        file["whole"] = np.zeros((2, 2), "i8")
    refused(
        tmp_path / "f.h5",
        r"received cube \[2, 2, 2\] float32, nothing empty float32, pairs \[2\] .*, "
        r"scalar \[\] float64, whole \[2, 2\] int64$",
    )
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(30):
            file[f"d{i:02}"] = np.zeros(3)
    refused(tmp_path / "many.h5", r"d19 \[3\] float64, \.\.\.$")


def test_allennlp(tmp_path: Path) -> None:
    matrix = table(4, 3)
    path = make(tmp_path / "f.h5", embedding=matrix)
    refused(path, r"one dataset of 4 strings is needed.*received none.*tokens=")
    whole = put(tmp_path / "whole.txt", "a\nb\nc\u00a0c\r\n d ".encode())
    assert_is(ef.read(path, tokens=str(whole)), ["a", "b", "c\u00a0c", " d "], matrix)
    without_padding = put(tmp_path / "less.txt", b"a\nb\nc\n")
    assert_is(ef.read(path, tokens=str(without_padding)), ["@@PADDING@@", "a", "b", "c"], matrix)
    found = ef.inspect(path, tokens=str(without_padding))
    assert found.rows == 4
    assert any("@@PADDING@@" in note for note in found.notes)
    wrong = put(tmp_path / "wrong.txt", b"a\nb\n")
    refused(path, "received 2 tokens for 4 rows", tokens=str(wrong))
    with pytest.raises(FileError, match=r"none\.txt: cannot be read"):
        ef.read(path, tokens=str(tmp_path / "none.txt"))
    bad = put(tmp_path / "bad.txt", b"a\nb\n\xff\nd")
    refused(path, "row 2: tokens must be UTF-8", tokens=str(bad))


def test_candidates(tmp_path: Path) -> None:
    matrix, tokens = table(3, 2), ["a", "b", "c"]
    two = make(tmp_path / "two.h5", one=matrix, two=matrix * 2, words=tokens)
    refused(two, r"one 2-D dataset of floats.*member=.*one \[3, 2\] float32, two \[3, 2\]")
    assert_is(ef.read(two, member="two"), tokens, matrix * 2)
    assert_is(ef.read(two, member="/one"), tokens, matrix)
    refused(two, "member must name a 2-D dataset", member="words")
    refused(two, "member must name a 2-D dataset.*received 'three'", member="three")
    words = make(tmp_path / "words.h5", v=matrix, t1=tokens, t2=["x", "y", "z"], t3=["w"])
    refused(words, r"one dataset of 3 strings.*t1 \[3\].*t2 \[3\]")
    assert_is(ef.read(words, tokens="t2"), ["x", "y", "z"], matrix)
    assert_is(ef.read(words, tokens="/t1"), tokens, matrix)
    refused(words, "received 1 tokens for 3 rows", tokens="t3")
    none = make(tmp_path / "none.h5", numbers=np.arange(5), words=tokens)
    refused(none, r"one 2-D dataset of floats is needed.*numbers \[5\] int64")
    refused(make(tmp_path / "empty.h5"), "received none")
    refused(make(tmp_path / "no.h5", v=matrix[:0], t=np.array([], "S2")), "has no rows|rows|tokens")
    refused(make(tmp_path / "wide.h5", v=matrix[:, :0], words=tokens), "one 2-D dataset")
    refused(make(tmp_path / "ints.h5", v=np.ones((3, 2), int), words=tokens), "one 2-D dataset")


def test_member_of_a_packed_file(tmp_path: Path) -> None:
    matrix, tokens = table(3, 2), ["a", "b", "c"]
    two = make(tmp_path / "two.h5", one=matrix, two=matrix * 2, words=tokens)
    packed = put(tmp_path / "two.h5.gz", gzip.compress(two.read_bytes()))
    assert_is(ef.read(packed, member="two"), tokens, matrix * 2)


def test_data_in_other_files_is_not_opened(tmp_path: Path) -> None:
    matrix, tokens = table(3, 2), ["a", "b", "c"]
    secret = put(tmp_path / "secret", b"root\0pass\0word\0")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("v", (3, 2), "f4", external=[(str(secret), 0, 24)])
        file.create_dataset("t", data=tokens, dtype=STRING)
    refused(tmp_path / "e.h5", "v lies in other files")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["v"] = matrix
        file.create_dataset("t", (3,), "S5", external=[(str(secret), 0, 15)])
    refused(tmp_path / "t.h5", "t lies in other files")
    refused(tmp_path / "t.h5", "t lies in other files", tokens="t")
    make(tmp_path / "real.h5", v=matrix, t=tokens)
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "real.h5"), "v", (3, 2))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
        file.create_dataset("t", data=tokens, dtype=STRING)
    refused(tmp_path / "virtual.h5", "lies in other files")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["v"] = h5py.ExternalLink(str(tmp_path / "real.h5"), "v")
        file.create_dataset("t", data=tokens, dtype=STRING)
    refused(tmp_path / "link.h5", "one 2-D dataset of floats is needed")


def test_damaged_files(tmp_path: Path) -> None:
    path = make(tmp_path / "f.h5", v=table(2000, 8), t=[f"t{i}" for i in range(2000)])
    data = path.read_bytes()
    for size in (8, 9, 100, 1000, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError, match="damaged or cut off|damaged or a filter"):
            ef.read(put(tmp_path / "cut.h5", data[:size]))
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file.create_dataset("v", data=table(2000, 8), chunks=(2000, 8), compression="gzip")
        file.create_dataset("t", data=[f"t{i}" for i in range(2000)], dtype=STRING)
        start, size = (lambda c: (c.byte_offset, c.size))(file["v"].id.get_chunk_info(0))
    data = bytearray((tmp_path / "g.h5").read_bytes())
    data[start : start + size] = b"\xff" * size
    refused(put(tmp_path / "bad.h5", data), r"cannot read rows 0 to 2000")


def test_written_file(tmp_path: Path) -> None:
    tokens = [*ODD_TOKENS, "", "New York", " ", "\n"]
    matrix = table(len(tokens), 3)
    ef.write(ef.Embeddings(tokens, matrix), tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        assert list(file) == ["embedding", "tokens"]
        assert bits(file["embedding"][:]) == bits(matrix)
        assert file["tokens"].asstr()[:].tolist() == tokens
    assert_is(ef.read(tmp_path / "f.h5"), tokens, matrix)
    half = ef.Embeddings(tokens, np.arange(3 * len(tokens), dtype=np.float16).reshape(-1, 3))
    ef.write(half, tmp_path / "half.h5")
    assert_is(ef.read(tmp_path / "half.h5", dtype="float16"), tokens, half.matrix)


def test_a_token_with_a_nul_is_refused(tmp_path: Path) -> None:
    e = ef.Embeddings(["a", "b\0c"], table(2, 2))
    with pytest.raises(FormatError, match="NUL byte.*row 1.*safetensors"):
        ef.write(e, tmp_path / "f.h5")
    assert os.listdir(tmp_path) == []


def test_repeated_tokens(tmp_path: Path) -> None:
    path = make(tmp_path / "f.h5", v=table(3, 2), t=["a", "b", "a"])
    with pytest.warns(UserWarning, match="1 row repeats"):
        assert spelled(ef.read(path)) == [b"a", b"b"]
    with pytest.raises(FormatError, match="row 2: tokens must differ"):
        ef.read(path, on_duplicate="error")
    assert spelled(ef.read(path, limit=2)) == [b"a", b"b"]
