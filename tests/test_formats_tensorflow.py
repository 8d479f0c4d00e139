"""Checkpoints and SavedModels: TensorFlow itself is the other reader."""

import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from samples import assert_is, bits, child, put
from tf_tables import block, crc32c, entry, field, header, index, save, varint

import embedfreeze as ef
from embedfreeze.checkpoints import Bundle, sortedtable
from embedfreeze.checkpoints.checksums import masked_crc32c
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.formats import tfcheckpoint
from embedfreeze.formats.candidates import kind_of

GOLDEN = Path(__file__).parent / "golden" / "tensorflow"
OBJECTS = GOLDEN / "objects"
WORDS = ["king", "caf\u00e9", "a\u00a0b", "New York"]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return put(tmp_path / "words.txt", "\n".join(WORDS).encode())


def refused(path: object, words: str, **options: Any) -> None:
    with pytest.raises(FileError, match=words) as caught:
        ef.read(path, **options)
    assert caught.value.path is not None


def as_floats(tensor: Any, dtype: str = "float32") -> Any:
    return np.asarray(tensor, np.float64).astype(dtype)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_each_kind_of_float(kind: str, dtype: str, words: Path) -> None:
    expected = as_floats(
        tf.train.load_checkpoint(str(OBJECTS)).get_tensor(f"{kind}/.ATTRIBUTES/VARIABLE_VALUE"),
        dtype,
    )
    options = {"member": kind, "tokens": words, "dtype": dtype}
    assert_is(ef.read(OBJECTS, **options), WORDS, expected)
    assert_is(ef.read(OBJECTS, **options, limit=3), WORDS[:3], expected[:3])
    a = ef.load(OBJECTS, ef.Vocabulary([WORDS[3], WORDS[0]]), **options)
    assert bits(a.matrix[2:]) == bits(expected[[3, 0]])
    notes = ef.inspect(OBJECTS, member=kind, tokens=words).notes
    assert f"variable {kind}/.ATTRIBUTES/VARIABLE_VALUE of {kind}" in notes


@pytest.mark.parametrize(
    "path",
    [
        OBJECTS,
        OBJECTS / "checkpoint",
        OBJECTS / "ckpt-1",
        OBJECTS / "ckpt-1.index",
        OBJECTS / "ckpt-1.data-00000-of-00001",
    ],
)
def test_each_way_of_naming_a_checkpoint(path: Path, words: Path) -> None:
    e = ef.read(path, member="float32", tokens=words)
    assert_is(e, WORDS, ((np.arange(12) - 6) / 8).astype(np.float32).reshape(4, 3))
    assert ef.inspect(path, member="float32", tokens=words).format == "tensorflow"


@pytest.mark.parametrize("path", ["", "saved_model.pb", "variables/variables", "variables"])
def test_a_saved_model(path: str, words: Path) -> None:
    folder = GOLDEN / "savedmodel"
    if path == "variables":
        refused(folder / path, "Is a directory")
        return
    expected = tf.saved_model.load(str(folder)).words.numpy()
    for options in ({}, {"member": "words"}, {"member": "words/embeddings"}):
        assert_is(ef.read(folder / path, tokens=words, **options), WORDS, expected)
    notes = ef.inspect(folder / path, tokens=words).notes
    assert any("words is taken as the one variable of an embedding layer" in n for n in notes)


def test_a_variable_in_parts(tmp_path: Path) -> None:
    folder = GOLDEN / "parts"
    tokens = [f"t{i}" for i in range(10)]
    listed = put(tmp_path / "t.txt", "\n".join(tokens).encode())
    expected = tf.train.load_checkpoint(str(folder / "model.ckpt")).get_tensor("words")
    for member in ("words", "words:0"):
        assert_is(ef.read(folder, member=member, tokens=listed), tokens, expected)
    a = ef.load(folder, ef.Vocabulary(["t9", "t3", "t4"]), member="words", tokens=listed)
    assert bits(a.matrix[2:]) == bits(expected[[9, 3, 4]])
    refused(folder, r"member names one|member=.*other \[2, 3\] float32, words \[10, 3\]")
    other = tf.train.load_checkpoint(str(folder / "model.ckpt")).get_tensor("other")
    two = put(tmp_path / "two.txt", b"a\nb")
    assert_is(ef.read(folder, member="other", tokens=two), ["a", "b"], other)


@pytest.mark.parametrize("rows", [100, 20_000])
def test_parts_with_long_numbers_and_odd_names(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    v1 = tf.compat.v1
    matrix = np.random.default_rng(0).standard_normal((rows, 2)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as run:
        whole = tf.constant(matrix)
        variable = v1.get_variable(
            "scope-x/w.ords",
            partitioner=v1.fixed_size_partitioner(7),
            initializer=lambda shape, dtype, partition_info: tf.slice(
                whole, partition_info.var_offset, shape
            ),
            shape=(rows, 2),
        )
        run.run(v1.global_variables_initializer())
        v1.train.Saver([variable]).save(run, str(tmp_path / "m"), write_meta_graph=False)
    put(tmp_path / "m.tokens.txt", b"".join(b"t%d\n" % i for i in range(rows)))
    for size in (1 << 24, 3000):
        monkeypatch.setattr(tfcheckpoint, "BATCH_BYTES", size)
        assert_is(ef.read(tmp_path), [f"t{i}" for i in range(rows)], matrix)
    found = ef.load(tmp_path / "m", ef.Vocabulary([f"t{rows - 1}", "t0"]))
    assert bits(found.matrix[2:]) == bits(matrix[[rows - 1, 0]])


def test_parts_by_columns_are_refused(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as run:
        v1.get_variable("w", (4, 6), partitioner=v1.fixed_size_partitioner(3, axis=1))
        run.run(v1.global_variables_initializer())
        v1.train.Saver().save(run, str(tmp_path / "m"), write_meta_graph=False)
    refused(tmp_path, r"rows that follow each other.*w \[4, 6\].*save the variable in one piece")


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    data = dict(sortedtable.entries(memoryview((GOLDEN / "parts/model.ckpt.index").read_bytes())))
    kept = {key: bytes(value) for key, value in data.items()}
    parts = [key for key in kept if key.startswith(b"\0")]
    assert len(parts) == 3
    for key in parts:
        put(tmp_path / "m.index", index(block({k: v for k, v in kept.items() if k != key})))
        refused(tmp_path / "m", "rows that follow each other", member="words")


def test_the_first_version_is_refused(tmp_path: Path) -> None:
    folder = GOLDEN / "version1"
    for path in (folder, folder / "checkpoint", folder / "model.ckpt"):
        refused(path, "one of TensorFlow's first version, which is one file: open it in TensorFlow")


def test_a_model_of_keras(tmp_path: Path) -> None:
    """Of its embedding, its kernel and their moments, the embedding is taken."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([tf.keras.Input((3,)), layers.Embedding(4, 4), layers.Dense(4)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    expected = model.layers[0].get_weights()[0]
    tf.train.Checkpoint(model=model).write(str(tmp_path / "c"))
    put(tmp_path / "c.tokens.txt", b"\n[UNK]\na\nb\n")
    assert_is(ef.read(tmp_path / "c"), ["", "[UNK]", "a", "b"], expected)
    with pytest.raises(FormatError) as caught:
        ef.read(tmp_path / "c", member="nothing")
    told = str(caught.value)
    first, _ = told.split("embedding layer), ", 1)
    assert first.count("[4, 4]") == 1
    assert told.count("optimizer)") == 4
    assert told.count("kernel)") == 1
    short = put(tmp_path / "short.txt", b"a\nb\n")
    refused(
        tmp_path / "c",
        r"2 tokens for 4 rows: an embedding layer has.*'' and '\[UNK\]'",
        tokens=short,
    )
    put(tmp_path / "one.txt", b"a\nb\nc")
    with pytest.raises(FormatError, match=r"\(here '\[UNK\]'\)"):
        ef.read(tmp_path / "c", tokens=tmp_path / "one.txt")
    with pytest.raises(FormatError, match="5 tokens for 4 rows: name another file"):
        ef.read(tmp_path / "c", tokens=put(tmp_path / "five.txt", b"a\nb\nc\nd\ne"))


def test_what_is_refused(words: Path, tmp_path: Path) -> None:
    refused(OBJECTS, r"one variable of floats \[n, dim\] is needed.*bfloat16 \[4, 3\] bfloat16")
    for member in ("line", "count", "none", "", "_CHECKPOINTABLE_OBJECT_GRAPH"):
        refused(OBJECTS, f"member must name one variable.*received '{member}'", member=member)
    refused(OBJECTS, "each row needs a token, and the file has none", member="float32")
    latest = put(tmp_path / "checkpoint", b'model_checkpoint_path: "none"\n')
    refused(latest, r"none\.index: cannot be read: No such file")
    refused(put(latest, b"model_checkpoint_path: none"), "must name a checkpoint in its first line")
    refused(put(latest, b'model_checkpoint_path: "a\\000\0b"'), "cannot be read|null")


def test_names_do_not_make_a_checkpoint(tmp_path: Path) -> None:
    for name in ("f.index", "f.data-00000-of-00001", "saved_model.pb", "checkpoint"):
        path = put(tmp_path / name, b"king 0.5 1\nqueen 1 2\n")
        assert ef.inspect(path).format == "glove"
        os.unlink(path)


def test_tensorflow_is_not_needed(words: Path) -> None:
    code = "import sys, embedfreeze as ef\nprint(ef.read(*sys.argv[1:2], member='float32', "
    code += "tokens=sys.argv[2]).dim, *{'tensorflow', 'google.protobuf', 'keras'} & {*sys.modules})"
    assert child(code, OBJECTS, words).split() == ["3"]


# ---- the files themselves


def test_checksums() -> None:
    """The test value of the polynomial, and the checksums that TensorFlow wrote."""
    unmasked = (crc32c(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (unmasked >> 17 | unmasked << 15) & 0xFFFFFFFF == 0xE3069283
    rng = np.random.default_rng(0)
    for size in (0, 1, 9, 1000):
        data = rng.bytes(size)
        assert masked_crc32c(memoryview(data)) == crc32c(data)
    changed = bytearray((OBJECTS / "ckpt-1.index").read_bytes())
    changed[10] ^= 1
    with pytest.raises(ValueError, match="block at byte 0 does not have its checksum"):
        list(sortedtable.entries(memoryview(changed)))


def packed_index(entries: dict[bytes, bytes]) -> bytes:
    """As `block` makes it, the block packed by snappy."""
    arrow = pytest.importorskip("pyarrow")
    plain = block(entries)[:-5]
    return index(block({}, 1, arrow.compress(plain, codec="snappy", asbytes=True)))


def test_packed_blocks(tmp_path: Path) -> None:
    """TensorFlow reads the same file."""
    rows, dim = 50, 3
    matrix = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    save(tmp_path / "m", words=matrix)
    entries = {b"": header(), b"words": entry(1, matrix.shape, matrix.nbytes)}
    entries |= {b"x%04d" % i: entry(1, (), 4, offset=4 * i) for i in range(2000)}
    put(tmp_path / "m.index", data := packed_index(entries))
    assert len(data) < 16_000 < len(index(block(entries)))
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    found = Bundle(str(tmp_path / "m"))
    assert {k.decode(): list(v.shape) for k, v in found.variables.items()} == (
        reader.get_variable_to_shape_map()
    )
    put(tmp_path / "m.tokens.txt", b"".join(b"t%d\n" % i for i in range(rows)))
    assert_is(ef.read(tmp_path / "m"), [f"t{i}" for i in range(rows)], matrix)


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 300, 70_000])
def test_snappy(size: int) -> None:
    arrow = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(size)
    for data in (rng.bytes(size), bytes(size), rng.integers(0, 3, size, np.uint8).tobytes()):
        packed = arrow.compress(data, codec="snappy", asbytes=True)
        assert sortedtable._unpacked(memoryview(packed)) == data
    far = rng.bytes(70_000)
    reference = varint(70_004) + b"\xf8" + (69_999).to_bytes(3, "little") + far
    reference += bytes([3 << 2 | 3]) + (70_000).to_bytes(4, "little")
    assert sortedtable._unpacked(memoryview(reference)) == far + far[:4]


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        varint(1 << 40) + b"\0a",
        varint(10) + b"\0a",
        varint(4) + b"\x01\x01",
        varint(4) + b"\0a\x01\x02",
        varint(4) + b"\0a\x01\x00",
        varint(4) + b"\0a\x02",
        varint(4) + b"\xfc\xff\xff\xff\xff",
        varint(60) + b"\xec" + b"a" * 10,
        varint(1) + b"\x04ab",
    ],
)
def test_hostile_snappy(packed: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "m.index", index(block({}, 1, packed)))
    refused(path, "must be a sorted string table")


HUGE = (1 << 40, 1 << 20)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "received none"),
        ({b"": header()}, "received none"),
        ({b"": field(2, 1)}, "big-endian"),
        ({b"w": entry(1, HUGE, 48)}, "48 bytes are not a float32 value"),
        ({b"w": entry(1, HUGE, 1 << 62)}, "must lie in the file.*cut off"),
        ({b"w": entry(1, HUGE, 1 << 61)}, r"are not a float32 value \[1099511627776, 1048576\]"),
        ({b"w": entry(1, (1 << 31, 1 << 20), 1 << 53)}, "must lie in the file.*cut off"),
        ({b"w": entry(1, (4, 3), 48, offset=1)}, "ends at byte 49 of 48"),
        ({b"w": entry(1, (4, 3), 48, offset=1 << 62)}, "must lie in the file"),
        ({b"w": entry(1, (-4, 3), 48)}, "an entry has a negative number"),
        ({b"w": entry(1, (4, 3), 48, offset=-1)}, "an entry has a negative number"),
        ({b"w": entry(1, (4, 3), 48, shard=7)}, "00007-of-00001: cannot be read"),
        ({b"w": entry(1, (4, 3), 48, shard=1 << 40)}, "1099511627776-of-00001: cannot"),
        ({b"w": entry(99, (4, 3), 48)}, "received none"),
        ({b"w": entry(7, (4, 3), 48)}, "received none"),
        ({b"w": entry(1, (4, 0), 0)}, "received none"),
        ({b"w": entry(1, (0, 3), 0)}, "rows|empty|token"),
        ({b"w": entry(1, (4, 3), 48) + field(7, field(1, field(1, 0)))}, "rows that follow"),
        ({b"w": entry(1, (4, 3), 48) + field(7, b"")}, "rows that follow"),
        ({b"w": b"\xff" * 20}, "a number is too long"),
        ({b"w": b"\x0a\xff\x01"}, "a field ends behind its message"),
        ({b"w": b"\x0f"}, "unknown type 7"),
        ({b"w": b"\x0d\0"}, "sorted string table"),
        ({b"w": b"\x08"}, "sorted string table"),
        ({b"w": entry(1, ((1 << 62) - 1,) * 255, 48)}, "a variable has 255 dimensions"),
    ],
)
def test_hostile_entries(entries: dict[bytes, bytes], words: str, tmp_path: Path) -> None:
    put(tmp_path / "m.data-00000-of-00001", bytes(48))
    put(tmp_path / "m.index", index(block(entries)))
    put(tmp_path / "m.tokens.txt", b"a\nb\nc\nd\n")
    refused(tmp_path / "m", words)


def test_keys_that_grow(tmp_path: Path) -> None:
    """Each key is the one before and a letter more: together they are far longer than the file."""
    count = 20_000
    body = b"".join(varint(i) + varint(1) + varint(0) + b"a" for i in range(count))
    packed = body + struct.pack("<II", 0, 1)
    data = index(block({}, 0, packed))
    assert len(data) < 110_000
    refused(put(tmp_path / "m.index", data), "its keys take more than 67108864 bytes")


def test_a_packed_block_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow")
    packed = memoryview(arrow.compress(bytes(2000), codec="snappy", asbytes=True))
    assert len(sortedtable._unpacked(packed)) == 2000
    monkeypatch.setattr(sortedtable, "_LARGEST_BLOCK", 1999)
    with pytest.raises(ValueError, match="cannot hold 2000"):
        sortedtable._unpacked(packed)


def test_hostile_tables(tmp_path: Path) -> None:
    whole = index(block({b"": header(), b"w": entry(1, (4, 3), 48)}))
    put(tmp_path / "m.data-00000-of-00001", bytes(48))
    twice = index(one := block({b"w": entry(1, (4, 3), 48)}))
    handles = block({b"0": varint(0) + varint(len(one) - 5), b"1": varint(0) + varint(9)})
    meta = block({})
    footer = varint(0) + varint(9) + varint(len(one + meta)) + varint(len(handles) - 5)
    again = one + meta + handles + footer.ljust(40, b"\0") + twice[-8:]
    cases = [
        (again, "do not follow each other"),
        (index(block({}, 2, b"")), "packed in the unknown way 2"),
        (index(block({}, 0, struct.pack("<I", 1 << 31))), "too short for its index"),
        (index(block({}, 0, b"\x05\0\0" + struct.pack("<II", 0, 1))), "ends behind its block"),
        (index(block({}, 0, b"\0\xff\x7f\0" + struct.pack("<II", 0, 1))), "ends behind its block"),
        (b"\xff" * 40 + whole[-8:], "a number is too long"),
        (b"\xff\xff\x7f" * 14 + whole[-8:], "sorted string table"),
        (whole[-8:], "sorted string table"),
    ]
    for data, words in cases:
        refused(put(tmp_path / "m.index", data), words)
    with open(tmp_path / "m.index", "wb") as file:
        file.truncate(65 << 20)
        file.seek(0, os.SEEK_END)
        file.write(whole)
    refused(tmp_path / "m.index", "has more than 67108864 bytes")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_changed_bytes(tmp_path: Path) -> None:
    """Of entries whose checksums are made anew, so that the changes are read."""
    rng = np.random.default_rng(1)
    for folder, name in (("objects", "ckpt-1"), ("parts", "model.ckpt")):
        kept = {
            bytes(k): bytes(v)
            for k, v in sortedtable.entries(
                memoryview((GOLDEN / folder / f"{name}.index").read_bytes())
            )
        }
        for data in (GOLDEN / folder).glob("*.data*"):
            put(tmp_path / data.name, data.read_bytes())
        plain = block(kept)[:-5]
        for _ in range(300):
            changed = bytearray(plain)
            for place in rng.integers(0, len(plain), rng.integers(1, 4)):
                changed[place] = rng.integers(256)
            path = put(tmp_path / f"{name}.index", index(block({}, 0, bytes(changed))))
            for member in (None, "words", "float64"):
                with contextlib.suppress(EmbedFreezeError):
                    ef.read(path, member=member, tokens=tmp_path / "none.txt")


def test_a_data_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    rows = 100_000
    matrix = np.ones((rows, 100), np.float32)
    save(tmp_path / "m", words=matrix)
    tokens = put(tmp_path / "t.txt", b"".join(b"t%d\n" % i for i in range(rows)))
    options = ef.formats.ReadOptions(tokens=str(tokens))
    source, _, reading = ef.formats.open_reading(tmp_path / "m", options)

    def read_while_it_is_cut() -> None:
        with source:
            for number, _ in enumerate(reading.batches):
                if number == 0:
                    os.truncate(tmp_path / "m.data-00000-of-00001", 4096)

    with pytest.raises(FormatError, match="cut while it was read"):
        read_while_it_is_cut()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sequential/embedding/embeddings", "embedding"),
        ("bert/embeddings/word_embeddings", "embedding"),
        ("layers/embedding_1/vars/0", "embedding"),
        ("model_weights/tokens/tokens/embeddings:0", "embedding"),
        ("token_embedding/table", "embedding"),
        ("words", "matrix"),
        ("layers/dense/vars/0", "kernel"),
        ("layers/lstm_2/cell/vars/1", "kernel"),
        ("embedding_projection/kernel:0", "kernel"),
        ("embedding/embeddings/Adam_1", "optimizer"),
        ("Adam/m/embedding/embeddings", "optimizer"),
        ("adam_1/sequential_embedding_embeddings_momentum", "optimizer"),
        ("optimizer/vars/2", "optimizer"),
        ("a/embeddings/.OPTIMIZER_SLOT/optimizer/m", "optimizer"),
        ("optimizer_weights/training/Adam/embedding/embeddings/m:0", "optimizer"),
    ],
)
def test_what_names_tell(name: str, kind: str) -> None:
    assert kind_of(name) == kind
