"""float16, bfloat16 and int8 with a scale per row: from the file to the lookup, bit for bit."""

import json
import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import safetensors
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import ODD_TOKENS, bits, put

import embedfreeze as ef
from embedfreeze import storage
from embedfreeze.cli import main
from embedfreeze.errors import EmbedFreezeError, FormatError, FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenEmbedding, frozen_variables
from embedfreeze.sealed import SealedMatrixBuilder, seal_array

ROOT = Path(__file__).parents[1]
NAMES = ["float32", "float16", "bfloat16", "int8"]
NEW = ["bfloat16", "int8"]
CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}
ROWS, DIM = 90, 6
TOKENS = [f"t{i}" for i in range(ROWS)]
MATRIX = np.random.default_rng(4).standard_normal((ROWS, DIM)).astype(np.float32)
MATRIX[5] = 0
MATRIX[6] = -MATRIX[6] * np.float32(1e-30)
IDS = np.array([[3, 4, 5], [0, 89, 6]], np.int32)
Float32 = npt.NDArray[np.float32]
MODES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "jit": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


# ---- oracles, which share nothing with the package


def int8_of(row: Float32) -> bytes:
    """A row of int8: whole numbers, and the float32 they are multiplied by."""
    largest = max(abs(float(value)) for value in row)
    (pattern,) = struct.unpack("<I", struct.pack("<f", np.float32(largest) / np.float32(127)))
    (scale,) = struct.unpack("<f", struct.pack("<I", pattern >> 7 << 7))
    scale = max(scale, 2.0**-126)
    numbers = [int(np.rint(np.float32(value) / np.float32(scale))) for value in row]
    if not any(numbers):
        scale = 0.0
    return struct.pack(f"<{len(row)}bf", *numbers, scale)


def values_of(row: bytes) -> list[float]:
    """The values of a row of int8: exact in double precision, and in float32."""
    *numbers, scale = struct.unpack(f"<{len(row) - 4}bf", row)
    return [number * scale for number in numbers]


def bfloat16_of(matrix: Float32) -> npt.NDArray[np.uint16]:
    """The upper halves of float32, rounded to nearest, ties to even."""
    word = matrix.view(np.uint32).astype(np.uint64)
    return ((word + 0x7FFF + (word >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)).astype("<u2")


def stored(matrix: Float32, dtype: str) -> bytes:
    """The bytes of a matrix as it is stored."""
    if dtype == "int8":
        return b"".join(map(int8_of, matrix))
    return bits(bfloat16_of(matrix) if dtype == "bfloat16" else matrix.astype(dtype))


def decoded(matrix: Float32, dtype: str) -> Float32:
    """The float32 values of a matrix that was stored."""
    data = stored(matrix, dtype)
    if dtype == "int8":
        width = matrix.shape[1] + 4
        rows = [values_of(data[at : at + width]) for at in range(0, len(data), width)]
        return np.array(rows, np.float32).reshape(matrix.shape)
    if dtype == "bfloat16":
        halves = np.frombuffer(data, "<u2").astype(np.uint32)
        return (halves << np.uint32(16)).view(np.float32).reshape(matrix.shape)
    return np.frombuffer(data, dtype).astype(np.float32).reshape(matrix.shape)


def embeddings(dtype: str = "float32") -> ef.Embeddings:
    return ef.Embeddings(TOKENS, MATRIX.copy()).astype(dtype)


def store(folder: Path, dtype: str) -> ef.Embeddings:
    path = folder / f"{dtype}.safetensors"
    ef.write(embeddings(dtype), path, overwrite=True)
    return ef.read(path)


# ---- encoding


def test_golden_bytes() -> None:
    """Written down by hand: 2 / 127 = 0x3c810204, of which the last seven bits are cleared."""
    e = ef.Embeddings(["a"], np.array([[1, -2, 0.5, 0]], np.float32)).astype("int8")
    assert bits(e.matrix).hex() == "40" + "81" + "20" + "00" + "0002813c"
    scale = 16513 / 2**20  # 0x3c810200
    assert e["a"].tolist() == [64 * scale, -127 * scale, 32 * scale, 0.0]
    e = e.astype("bfloat16")
    assert e.matrix.view(np.uint16).tolist() == [[0x3F81, 0xC000, 0x3F01, 0]]


@pytest.mark.parametrize("dtype", NAMES)
def test_values_are_stored_as_the_oracle_says(dtype: str) -> None:
    e = embeddings(dtype)
    assert (e.dtype, e.dim, len(e)) == (dtype, DIM, ROWS)
    assert bits(e.matrix) == stored(MATRIX, dtype)
    assert bits(storage.decode(e.matrix)) == bits(decoded(MATRIX, dtype))
    vectors = e[["t6", "t0"]], e["t6"]
    expected = np.float32 if dtype == "int8" else e.matrix.dtype
    assert {v.dtype for v in vectors} == {np.dtype(expected)}
    assert bits(vectors[0].astype(np.float32)) == bits(decoded(MATRIX, dtype)[[6, 0]])
    assert bits(vectors[1].astype(np.float32)) == bits(decoded(MATRIX, dtype)[6])


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
matrices = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=finite, fill=finite
)


@given(matrices)
def test_int8_is_near_and_comes_back(matrix: Float32) -> None:
    """Half a step, and 2**-16 of one for the quotient's rounding; float32 holds q * scale."""
    e = ef.Embeddings([str(i) for i in range(len(matrix))], matrix).astype("int8")
    assert bits(e.matrix) == stored(matrix, "int8")
    scales = np.ascontiguousarray(e.matrix[:, -4:]).view("<f4").astype(np.float64)
    values = storage.decode(e.matrix)
    assert bits(values) == bits(decoded(matrix, "int8"))
    largest = np.abs(matrix.astype(np.float64)).max(axis=1, keepdims=True)
    step = np.where(scales > 0, scales, 2.0**-126)
    assert (scales <= np.maximum(largest / 127 * (1 + 2.0**-23), 2.0**-126)).all()
    assert (np.abs(values - matrix.astype(np.float64)) <= step * (0.5 + 2.0**-16)).all()
    assert bits(e.astype("float32").astype("int8").matrix) == bits(e.matrix)


@given(hnp.arrays(np.uint32, 20))
def test_bfloat16_rounds_to_nearest_even(patterns: npt.NDArray[np.uint32]) -> None:
    values = patterns.view(np.float32)[None]
    values = np.where(np.isnan(values) | (np.abs(values) > 3.389e38), np.float32(1), values)
    out = storage.empty(1, 20, "bfloat16")
    storage.encode(values, out)
    assert bits(out) == bits(bfloat16_of(values))


@pytest.mark.slow
def test_every_scale_comes_back() -> None:
    mantissas = np.arange(1 << 23, dtype=np.uint32)
    for exponent in (0, 1, 7, 8, 120, 127, 250, 254):
        values = (mantissas | np.uint32(exponent << 23)).view(np.float32)[:, None]
        rows, again = (storage.empty(len(values), 1, "int8") for _ in range(2))
        storage.encode(values, rows)
        found = storage.decode(rows)
        assert np.isfinite(found).all()
        storage.encode(found, again)
        assert bits(again) == bits(rows)


def test_a_conversion_takes_little_more_memory_than_its_result() -> None:
    wide = ef.Embeddings(TOKENS, np.ones((ROWS, 50_000), np.float32))
    for dtype in NEW:
        tracemalloc.start()
        made = wide.astype(dtype)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < made.matrix.nbytes + (12 << 20)
    odd = wide.matrix.copy()
    odd[[71, 88], 49_999] = np.nan
    with pytest.raises(FormatError, match="row 71: token 't71'"):
        ef.Embeddings(TOKENS, odd).astype("int8")


# ---- refusals


def test_rows_that_int8_cannot_hold() -> None:
    for value in (np.nan, np.inf, -np.inf):
        matrix = MATRIX.copy()
        matrix[7, 2] = value
        e = ef.Embeddings(TOKENS, matrix, path="somewhere.txt")
        rule = r"row 7: token 't7': int8 holds finite values, received (nan|inf): pass dtype= as"
        with pytest.raises(FormatError, match=f"somewhere.txt: {rule}") as failure:
            e.astype("int8")
        assert failure.value.row == 7
        with pytest.raises(FormatError, match=r"token 't7'"):
            ef.align(e, ef.Vocabulary(["t1", "t7"]), dtype="int8")
        with pytest.raises(FormatError, match=r"row 3: token 't7'"):
            ef.align(e, ef.Vocabulary(["t1", "t7"])).astype("int8")
        assert bits(e.astype("bfloat16").astype("float32").matrix[8]) == bits(
            decoded(MATRIX, "bfloat16")[8]
        )


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65520), ("bfloat16", 3.4e38)])
def test_a_finite_value_never_becomes_infinite(dtype: str, value: float) -> None:
    matrix = MATRIX.copy()
    matrix[7, 2] = -np.float32(value)
    matrix[3, 3] = np.inf  # stays what it is
    e = ef.Embeddings(TOKENS, matrix)
    with pytest.raises(FormatError, match=f"row 7: token 't7': {dtype} has no finite value"):
        e.astype(dtype)
    matrix[7] = 0
    assert e.astype(dtype).matrix[3, 3] == np.inf


def test_other_names_and_shapes() -> None:
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, bfloat16, int8"):
        embeddings().astype("float64")
    with pytest.raises(ValueError, match="dtype must be one of"):
        ef.read("nowhere", dtype="int4")
    narrow = np.zeros((2, 4), np.int8)
    for make in (
        lambda: ef.Embeddings(["a", "b"], narrow),
        lambda: ef.AlignedEmbeddings(seal_array(narrow), ef.Vocabulary([])),
        lambda: FrozenEmbedding(seal_array(narrow))([0, 1]),
    ):
        with pytest.raises(EmbedFreezeError, match="the 4 bytes of its scale, received 4 columns"):
            make()


def test_bfloat16_without_ml_dtypes(tmp_path: Path) -> None:
    """It is looked for when bfloat16 is met, and the error says what to install."""
    path, other = store(tmp_path, "bfloat16").path, store(tmp_path, "float32").path
    program = f"""
import sys
sys.modules["ml_dtypes"] = None
import embedfreeze as ef
assert ef.read({other!r}, dtype="int8").dtype == "int8"
try:
    ef.read({path!r})
except ef.errors.EmbedFreezeError as error:
    print(error)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install ml_dtypes" in child.stdout, child.stderr


# ---- files


def written(folder: Path) -> list[Path]:
    """The same float32 table in every format."""
    names = ["f.txt", "f.txt.gz", "f.vec", "f.bin", "f.h5", "f.safetensors"]
    for name in names:
        ef.write(embeddings(), folder / name)
    return [folder / name for name in names]


@pytest.mark.parametrize("dtype", NEW)
def test_reading_encodes_while_the_rows_come(dtype: str, tmp_path: Path) -> None:
    for path in written(tmp_path):
        e = ef.read(path, dtype=dtype)
        assert (list(e.tokens), e.dtype) == (TOKENS, dtype)
        assert bits(e.matrix) == stored(MATRIX, dtype)
        assert bits(ef.read(path, dtype=dtype, limit=7).matrix) == stored(MATRIX[:7], dtype)


@pytest.mark.parametrize("dtype", NAMES)
def test_every_format_takes_what_is_stored(dtype: str, tmp_path: Path) -> None:
    e = embeddings(dtype)
    for name in ("f.txt", "f.vec", "f.bin", "f.h5"):
        ef.write(e, tmp_path / name)
        assert bits(ef.read(tmp_path / name).matrix) == bits(decoded(MATRIX, dtype))
        again = ef.read(tmp_path / name, dtype=dtype)
        assert bits(again.matrix) == bits(e.matrix)
        again = ef.convert(tmp_path / name, tmp_path / "c.safetensors", dtype=dtype, overwrite=True)
        assert again.dim == DIM
        assert ef.read(tmp_path / "c.safetensors").digest == e.digest


@pytest.mark.parametrize("dtype", NAMES)
def test_a_store_of_each_dtype(dtype: str, tmp_path: Path) -> None:
    e = ef.Embeddings(ODD_TOKENS, MATRIX[: len(ODD_TOKENS)].copy()).astype(dtype)
    path = tmp_path / "f.safetensors"
    ef.write(e, path)
    mapped = ef.read(path)
    assert mapped.sealed is not None
    assert (mapped.sealed.guarantee, mapped.dtype, mapped.dim) == ("watched", dtype, DIM)
    assert mapped.digest == e.digest
    tensors = dict(safetensors.deserialize(path.read_bytes()))
    columns = DIM + 4 if dtype == "int8" else DIM
    assert tensors["vectors"]["dtype"] == CODES[dtype]
    assert tensors["vectors"]["shape"] == [len(ODD_TOKENS), columns]
    assert bytes(tensors["vectors"]["data"]) == stored(MATRIX[: len(ODD_TOKENS)], dtype)
    for other in NAMES:
        again = ef.read(path, dtype=other)
        assert again.dtype == other
        assert bits(again.matrix) == bits(e.astype(other).matrix)
    assert bits(ef.read(path, limit=3).matrix) == bits(e.matrix[:3])
    assert bits(ef.read(path, limit=3, dtype="float32").matrix) == bits(decoded(MATRIX[:3], dtype))
    assert ef.read(path, seal="copy").digest == e.digest


def test_repeated_and_bad_rows(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1 2\nb x 2\na 3 4\nc 5 6\nd nan 1\n")
    options: dict[str, Any] = {"on_bad_row": "skip", "on_duplicate": "last", "limit": 4}
    with pytest.warns(UserWarning, match="1 row repeats"):
        e = ef.read(path, dtype="int8", **options)
    assert list(e.tokens) == ["a", "c"]
    assert bits(e.matrix) == stored(np.array([[3, 4], [5, 6]], np.float32), "int8")
    place = r"f.txt: line 5: token 'd': int8 holds finite values, received nan"
    for call in (ef.read, lambda p, **o: ef.convert(p, tmp_path / "g.safetensors", **o)):
        with pytest.raises(FormatError, match=place) as failure:
            call(path, dtype="int8", on_bad_row="skip")
        assert failure.value.line == 5
    assert sorted(os.listdir(tmp_path)) == ["f.txt"]
    with pytest.warns(UserWarning, match="not finite"):
        e = ef.read(path, dtype="bfloat16", on_bad_row="skip")
    assert np.isnan(e["d"][0])


def test_inspect_and_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ef.write(embeddings(), tmp_path / "f.txt")
    put(tmp_path / "words", b"t3\nT5\nzzz\n")
    for dtype, size, told in (("bfloat16", 2 * DIM, "1.1 kB"), ("int8", DIM + 4, "900 bytes")):
        out = str(tmp_path / "o.safetensors")
        main(["convert", str(tmp_path / "f.txt"), out, "--dtype", dtype, "--force"])
        found = ef.inspect(out)
        assert (found.dtype, found.dim, found.matrix_bytes) == (dtype, DIM, ROWS * size)
        assert f"dim     {DIM} ({dtype}, {told} in memory)" in str(found)
        source, words = str(tmp_path / "f.txt"), str(tmp_path / "words")
        assert not main(["align", source, out, "--vocabulary", words, "--dtype", dtype, "--force"])
        assert bits(ef.read(out).matrix[2:4]) == stored(MATRIX[[3, 5]], dtype)
    assert f"5 rows of {DIM}" in capsys.readouterr().out


def test_to_gensim(tmp_path: Path) -> None:
    for dtype in NAMES:
        vectors = store(tmp_path, dtype).to_gensim()
        assert vectors.vectors.dtype == (np.float16 if dtype == "float16" else np.float32)
        assert bits(vectors["t6"].astype(np.float32)) == bits(decoded(MATRIX, dtype)[6])
        assert abs(vectors.similarity("t6", "t7")) < 1


# ---- aligning


V = ef.Vocabulary(["t6", "T3", "zzzz", "t89"])
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mean": {"oov": "mean"},
    "normal": {"oov": "normal", "seed": 3},
    "hash": {"oov": "hash", "special": {"[UNK]": np.arange(DIM)}},
    "callable": {"oov": lambda tokens: np.full((len(tokens), DIM), 0.25)},
    "normalize": {"normalize": "l2", "oov": "mean"},
    "center": {"center": True},
    "pca": {"dim": 2, "reduce": "pca", "fold_file": True},
}


@pytest.mark.parametrize("dtype", NEW)
@pytest.mark.parametrize("request_", REQUESTS)
def test_rows_are_encoded_at_the_end(request_: str, dtype: str, tmp_path: Path) -> None:
    """Everything is done to float32 rows: the same as encoding the float32 table."""
    options, path = REQUESTS[request_], tmp_path / "f.bin"
    ef.write(embeddings(), path)
    plain = ef.load(path, V, **options)
    for a in (
        ef.load(path, V, dtype=dtype, **options),
        ef.align(embeddings(), V, dtype=dtype, **options),
    ):
        assert (a.dtype, a.dim, a.sealed.guarantee) == (dtype, plain.dim, "sealed")
        assert bits(a.matrix) == stored(plain.matrix, dtype)
        assert a.provenance["storage"] == [dtype]
        assert a.coverage.to_dict() == plain.coverage.to_dict() or a.source != plain.source
    made = plain.astype(dtype)
    assert made.digest == a.digest
    assert (made.vocabulary, made.coverage) == (plain.vocabulary, plain.coverage)
    assert made.provenance == {**plain.provenance, "storage": [dtype]}
    assert made.astype(dtype) is made


@pytest.mark.parametrize("dtype", NEW)
def test_several_sources(dtype: str, tmp_path: Path) -> None:
    parts = [store(tmp_path, name) for name in NAMES]
    both = ef.align(parts, V, combine="concat", dtype=dtype)
    plain = np.concatenate([decoded(MATRIX, name)[6] for name in NAMES])
    assert both.dim == 4 * DIM
    assert bits(both.matrix[2]) == stored(plain[None], dtype)
    first = ef.load([parts[1].path, parts[3], parts[0]], V, dtype=dtype)
    assert bits(first.matrix[2]) == stored(decoded(MATRIX, "float16")[6:7], dtype)
    with pytest.raises(FormatError, match="6 x float32 after 6 x float16"):
        ef.load([parts[1].path, parts[3]], V)
    assert ef.load([parts[1].path, parts[3]], V, dtype="float16").dtype == "float16"


@pytest.mark.parametrize("dtype", NEW)
def test_a_store_is_decoded_for_another_vocabulary(dtype: str, tmp_path: Path) -> None:
    path, values = store(tmp_path, dtype).path, decoded(MATRIX, dtype)
    for source in (path, ef.read(path), embeddings(dtype)):
        for options in ({}, {"limit": 90}, {"fold_file": True}):
            a = ef.load(source, V, **options)
            assert a.dtype == "float32"
            assert bits(a.matrix[2:4]) == bits(values[[6, 3]])
        assert bits(ef.load(source, V, dtype=dtype).matrix[2]) == stored(MATRIX[6:7], dtype)


@pytest.mark.parametrize("dtype", NEW)
def test_a_store_of_the_very_vocabulary_stays_as_it_is(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    made = ef.align(embeddings(), V, oov="hash", dtype=dtype)
    made.save(path)
    for options in ({}, {"dtype": dtype}):
        own = ef.load(path, V, **options)
        assert (own.sealed.guarantee, own.dtype, own.digest) == ("watched", dtype, made.digest)
        assert own.provenance == made.provenance
    for wanted in set(NAMES) - {dtype}:
        for source in (path, ef.read(path)):
            plain = ef.load(source, V, dtype=wanted)
            assert (plain.sealed.guarantee, plain.dtype) == ("sealed", wanted)
            assert bits(plain.matrix[2]) == stored(decoded(MATRIX, dtype)[6:7], wanted)
    other = ef.load(path, V, special={"[UNK]": "mean"})
    assert (other.dtype, other.provenance["storage"]) == (dtype, [dtype])
    assert bits(other.matrix[2:]) == bits(made.matrix[2:])
    assert other.digest != made.digest
    e = ef.read(path).astype("float32")
    assert (e.vocabulary, e.sealed, e.provenance["storage"]) == (V, None, [dtype, "float32"])
    assert e.coverage.to_dict() == made.coverage.to_dict()


@pytest.mark.parametrize("dtype", NEW)
def test_a_table_is_extended_without_a_change_of_its_rows(dtype: str, tmp_path: Path) -> None:
    a = ef.align(embeddings(), V, dtype=dtype)
    if dtype == "int8":  # whose scale is not what this package would choose
        builder = SealedMatrixBuilder(a.matrix.shape, a.matrix.dtype)
        builder.array[:] = a.matrix
        builder.array[2] //= 2
        a = ef.AlignedEmbeddings(builder.seal(), V, a.coverage, a.source, a.provenance)
    longer = a.extend(["t1", "nowhere"], embeddings(), oov="mean")
    assert (longer.dtype, longer.dim, len(longer)) == (dtype, DIM, len(V) + 2)
    assert bits(longer.matrix[: len(V)]) == bits(a.matrix)
    assert bits(longer.matrix[len(V)]) == stored(MATRIX[1:2], dtype)
    found = np.concatenate([storage.decode(a.matrix)[[2, 3, 5]], MATRIX[1:2]]).astype(np.float64)
    mean = found.mean(axis=0).astype(np.float32)
    assert bits(longer.matrix[-1]) == stored(mean[None], dtype)
    with pytest.raises(FormatError, match=rf'6 x {dtype} as .* 6 x float16: .*dtype="{dtype}"'):
        a.extend(["t1"], store(tmp_path, "float16"), dtype="float16")
    odd = ef.Embeddings(["t1", "t2"], np.array([[1] * DIM, [3.4e38] * DIM], np.float32))
    if dtype == "int8":
        odd = ef.Embeddings(odd.tokens, np.where(odd.matrix > 9, np.inf, odd.matrix))
    with pytest.raises(FormatError, match="row 7: token 't2'"):
        a.extend(["t1", "t2"], odd)


# ---- in TensorFlow


def address(variable: Any) -> int:
    """Where TensorFlow reads the variable, found on another way than the library's."""
    value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)._numpy()
    return int(value.__array_interface__["data"][0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("dtype", NAMES)
def test_lookups(dtype: str, policy: str, mode: str, tmp_path: Path) -> None:
    layer = FrozenEmbedding(store(tmp_path, dtype), dtype=policy)
    seen = MODES[mode](layer)(tf.constant(IDS)).numpy()
    expected = decoded(MATRIX, dtype)[IDS].astype(tf.as_dtype(layer.compute_dtype).as_numpy_dtype)
    assert (seen.dtype, seen.shape) == (expected.dtype, (*IDS.shape, DIM))
    assert bits(seen) == bits(expected)
    assert layer.compute_output_shape((2, 3)) == (2, 3, DIM)
    assert address(layer.table.tf_variable) == layer.table.sealed.address


def casts(graph: Any) -> Iterator[Any]:
    """The shapes of all casts in a graph and the functions that it calls."""
    for operation in graph.get_operations():
        if operation.type == "Cast":
            yield operation.outputs[0].shape
    for function in graph._functions.values():
        yield from casts(function.graph if hasattr(function, "graph") else tf.Graph())


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("dtype", NAMES)
def test_no_policy_casts_the_table(dtype: str, policy: str, tmp_path: Path) -> None:
    layer = FrozenEmbedding(store(tmp_path, dtype), dtype=policy)
    traced = tf.function(layer, autograph=False).get_concrete_function(
        tf.TensorSpec((None, 3), tf.int32)
    )
    shapes = [shape.as_list() for shape in casts(traced.graph)]
    assert all(shape[:2] == [None, 3] for shape in shapes)
    same = layer.compute_dtype == dtype
    assert len(shapes) == (0 if same else 2 if dtype == "int8" and policy != "float32" else 1)


@pytest.mark.parametrize("dtype", NEW)
def test_the_variable_is_the_stored_matrix(dtype: str, tmp_path: Path) -> None:
    e = store(tmp_path, dtype)
    variable = ef.FrozenVariable(e)
    assert (variable.dtype, variable.dim) == (dtype, DIM)
    assert tuple(variable.shape) == e.matrix.shape
    seen = variable.numpy()
    assert not seen.flags.writeable
    assert seen.__array_interface__["data"][0] == e.sealed.address
    variable.assign(seen)
    variable.assign(e.matrix.copy())
    variable.assign(tf.constant(e.matrix))
    variable.verify(deep=True)
    other = e.matrix.copy()
    other[7] = other[8]
    with pytest.raises(FrozenError, match="row 7"):
        variable.assign(other)
    tf.raw_ops.AssignVariableOp(
        resource=variable.tf_variable.handle, value=tf.constant(e.matrix.copy())
    )
    variable.check()  # equal bytes are put back
    assert address(variable.tf_variable) == e.sealed.address
    tf.raw_ops.AssignVariableOp(resource=variable.tf_variable.handle, value=tf.constant(other))
    with pytest.raises(FrozenBytesChanged, match=r"row 7, token 't7'"):
        variable.check()


@pytest.mark.parametrize("dtype", NEW)
def test_thawing_and_open_rows(dtype: str) -> None:
    a = ef.align(embeddings(), V, dtype=dtype)
    values = storage.decode(a.matrix)
    layer = FrozenEmbedding(a, trainable_oov=True)
    assert layer.open_rows.tolist() == [1, 4]
    assert bits(layer.oov.numpy()) == bits(values[[1, 4]])
    assert bits(layer.thaw().embeddings.numpy()) == bits(values)


def anonymous_bytes() -> int:
    """RssAnon of this process: what a copy would add to."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


@pytest.mark.parametrize("dtype", NEW)
def test_a_mapped_store_is_never_copied(dtype: str, tmp_path: Path) -> None:
    tokens = [str(i) for i in range(1 << 15)]
    matrix = storage.empty(len(tokens), 2048 if dtype == "bfloat16" else 4092, dtype)
    matrix[:] = 1  # 128 MiB
    ef.write(ef.Embeddings(tokens, matrix), tmp_path / "big.safetensors")
    e = ef.read(tmp_path / "big.safetensors")
    layer = FrozenEmbedding(e)
    looks = [mode(layer) for mode in MODES.values()]
    for look in looks:
        look(IDS)  # what TensorFlow needs once
    before = anonymous_bytes()
    for look in looks:
        for _ in range(3):
            look(IDS)
    layer.table.assign(layer.table.numpy())
    layer.table.assign(e.matrix)
    layer.table.verify(deep=True)
    assert anonymous_bytes() - before < e.matrix.nbytes // 2
    assert address(layer.table.tf_variable) == layer.table.sealed.address == e.sealed.address


SERVE = """
import json, sys
import numpy as np, tensorflow as tf
x, same = tf.constant(np.load("x.npy")), {}
for dtype in sys.argv[1:]:
    loaded = tf.saved_model.load(dtype)
    seen = loaded.serve(x).numpy()
    same[dtype] = seen.tobytes() == np.load(dtype + ".npy").tobytes()
print(json.dumps([same, [name for name in sys.modules if name.startswith("embedfreeze")]]))
"""


def trained(table: Any, *, jit: bool) -> Any:
    keras.utils.set_random_seed(1)
    model = ef.build_model(table, pooling="mean", hidden_units=[4], output_units=1)
    model.compile("adam", "mse", jit_compile=jit)
    x = np.random.default_rng(0).integers(1, len(V), (8, 5)).astype(np.int32)
    model.fit(x, np.ones((8, 1), np.float32), epochs=2, verbose=0, callbacks=[ef.FreezeGuard()])
    return model, x, model(x).numpy()


def test_models_train_save_load_and_serve(tmp_path: Path) -> None:
    for dtype in NEW:
        a = ef.align(embeddings(), V, dtype=dtype)
        a.save(tmp_path / f"{dtype}.safetensors")
        own = ef.load(tmp_path / f"{dtype}.safetensors", V)
        for table, save in ((own, "reference"), (a, "embed")):
            model, x, expected = trained(table, jit=save == "embed")
            ((layer, _),) = frozen_variables(model)
            assert layer.save_mode == save
            ef.verify(model, deep=True)
            path = tmp_path / f"{dtype}-{save}.keras"
            model.save(path)
            loaded = ef.load_model(path)
            assert loaded(x).numpy().tobytes() == expected.tobytes()
            ef.verify(loaded, deep=True)
            model.save_weights(tmp_path / "w.weights.h5")
            model.load_weights(tmp_path / "w.weights.h5")
        model.export(tmp_path / dtype, verbose=False)
        np.save(tmp_path / f"{dtype}.npy", expected)
    np.save(tmp_path / "x.npy", x)
    child = subprocess.run(
        [sys.executable, "-c", SERVE, *NEW],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout.splitlines()[-1]) == [dict.fromkeys(NEW, True), []]


@pytest.mark.slow
def test_the_committed_table_of_accuracy() -> None:
    """Memory, correlations with WordSim-353 and SimLex-999, and neighbours are found again."""
    program, sample = "benchmarks/storage.py", "data/glove.6B.50d.sample.txt"
    child = subprocess.run(
        [sys.executable, program, sample], capture_output=True, text=True, cwd=ROOT, timeout=240
    )
    assert child.stdout.count("\n") == 6, child.stderr
    assert child.stdout in (ROOT / "benchmarks" / "storage.md").read_text(encoding="utf-8")
