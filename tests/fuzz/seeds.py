"""Healthy files to change: tests/golden, and files that the writers of the package make."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.files import open_source
from embedfreeze.formats import FORMATS
from embedfreeze.formats.folders import main_file
from embedfreeze.tokens import Tokens

__all__ = ["PACKED", "SUBJECTS", "Seed", "seeds_of"]

GOLDEN = Path(__file__).parents[1] / "golden"
PACKED = "packed"  # what is not a format: containers around a text
SUBJECTS = (*FORMATS, PACKED)
NOT_SEEDS = (".md", ".py")
LARGEST = 1 << 17
# What a healthy file is read with, by its name; `tokens` with digits alone is a list of so many.
OPTIONS: dict[str, dict[str, str]] = {
    "objects": {"member": "float32", "tokens": "4"},
    "parts": {"member": "words", "tokens": "10"},
    "savedmodel": {"tokens": "4"},
    "keras2.h5": {"tokens": "4"},
    "keras3.weights.h5": {"tokens": "4"},
    "padded.safetensors": {"tokens": "words"},
    "text in several.zip": {"member": "a.txt"},
    "text in several.tar": {"member": "a.txt"},
}
# Formats that only write what another one reads; their own files are larger than LARGEST.
READ_AS = {"allennlp": "hdf5"}


@dataclass(frozen=True)
class Seed:
    """Files that belong together.

    Attributes
    ----------
    name : str
        For messages.
    main : str
        What is opened: a file, or a folder.
    files : dict of str to bytes
        By their paths, from the folder that they all stand in.
    changed : tuple of str
        Those that are mutated, the main one first.
    options : dict
        What it is read with; `tokens` may be a file in the folder.
    """

    name: str
    main: str
    files: dict[str, bytes]
    changed: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)


def seeds_of(subject: str, folder: Path) -> list[Seed]:
    """The seeds of a format; an empty `folder` is for what is made."""
    subject = READ_AS.get(subject, subject)
    if subject == PACKED:
        return [_with_options(seed) for seed in _packed()]
    found = _golden(subject)
    if FORMATS[subject].writer is not None:
        found += _written(subject, folder)
    return [_with_options(seed) for seed in found]


def _with_options(seed: Seed) -> Seed:
    options = dict(OPTIONS.get(seed.name, {}))
    files, tokens = dict(seed.files), options.get("tokens", "")
    if tokens.isdigit():
        options["tokens"] = "words.txt"
        files["words.txt"] = b"".join(b"token%d\n" % i for i in range(int(tokens)))
    return replace(seed, files=files, options=options)


def format_of(path: Path) -> str | None:
    """What the content of a file says that it is."""
    try:
        with open_source(main_file(path)) as source:
            known = FORMATS.recognised(source)
            return None if known is None else known.name
    except EmbedFreezeError:
        return None


def _files(folder: Path) -> dict[str, bytes]:
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in NOT_SEEDS]
    small = [p for p in paths if p.stat().st_size <= LARGEST]
    return {str(p.relative_to(folder)): p.read_bytes() for p in small}


def _golden(subject: str) -> list[Seed]:
    found = []
    for folder in (GOLDEN / subject, GOLDEN):
        files = _files(folder) if folder.is_dir() else {}
        for path in sorted(folder.iterdir()) if files else ():
            if path.suffix not in NOT_SEEDS and path.name not in FORMATS:
                found += [_seed(path, files)] if format_of(path) == subject else []
    return found


def _seed(path: Path, files: dict[str, bytes]) -> Seed:
    """A file and those of the same stem, or all files of a folder."""
    stem = path.name if path.is_dir() else path.name.split(".")[0]
    ours = [n for n in files if n.split("/")[0].split(".")[0] == stem or n.split("/")[0] == stem]
    if path.parent == GOLDEN:
        ours = [path.name]
    ours.sort(key=lambda name: (name != path.name, name))
    return Seed(path.name, path.name, {n: files[n] for n in ours}, tuple(ours))


def table(rows: int, dim: int, dtype: str = "float32") -> ef.Embeddings:
    matrix = np.random.default_rng(rows).standard_normal((rows, dim)).astype(dtype)
    tokens = [b"</s>", "caf\u00e9".encode(), "\u6771\u4eac".encode(), b"a-b", b"#1"]
    tokens += [b"token%d" % i for i in range(rows)]
    return ef.Embeddings(Tokens.from_bytes(tokens[:rows], "strict"), matrix)


def _written(subject: str, folder: Path) -> list[Seed]:
    writer, found = FORMATS[subject].writer, _hdf5() if subject == "hdf5" else []
    assert writer is not None
    for shape in ((3, 2), (12, 4), (40, 5), (4, 3, "float16")):
        for suffix in writer.suffixes[:2] or ("",):
            e = table(*shape)
            inside = folder / os.urandom(8).hex()
            inside.mkdir()
            with contextlib.suppress(EmbedFreezeError):  # not every format takes every shape
                ef.write(e, inside / f"seed{suffix}", format=subject)
                files = _files(inside)
                ours = sorted(files, key=lambda name: (name != f"seed{suffix}", name))
                name = f"{len(e)} rows of {e.dim} in seed{suffix}"
                found += [Seed(name, f"seed{suffix}", files, tuple(ours))] if files else []
    return found


def _hdf5() -> list[Seed]:
    """What the writer makes is large, and there are more ways to lay out data than it uses."""
    e, found = table(40, 5), []
    tokens = np.array([e.tokens.bytes_at(row) for row in range(len(e))])
    for how in ({}, {"chunks": (8, 5), "compression": "gzip", "shuffle": True}):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("v", data=e.matrix, **how)
            texts = h5py.string_dtype() if how else None
            file.create_dataset("t", data=list(tokens) if how else tokens, dtype=texts)
            file["t"].attrs["note"] = "x"
        found.append(Seed(f"HDF5 {how}", "seed.h5", {"seed.h5": buffer.getvalue()}, ("seed.h5",)))
    return found


def _packed() -> list[Seed]:
    e = table(40, 5)
    rows = (" ".join([t, *map(repr, r.tolist())]) for t, r in zip(e.tokens, e.matrix, strict=True))
    text = ("\n".join(rows) + "\n").encode()
    packed = {
        "gz": gzip.compress(text),
        "bz2": bz2.compress(text),
        "xz": lzma.compress(text),
        "gz.gz": gzip.compress(gzip.compress(text)),
        "zip": _zipped({"seed.txt": text}),
        "several.zip": _zipped({"a.txt": text, "b/c.txt": text}),
        "tar": _tarred({"seed.txt": text}, "w"),
        "tar.gz": _tarred({"seed.txt": text}, "w:gz"),
        "several.tar": _tarred({"a.txt": text, "b/c.txt": text}, "w"),
    }
    with contextlib.suppress(ImportError):
        from backports import zstd

        packed["zst"] = zstd.compress(text)
    return [
        Seed(f"text in {end}", f"seed.{end}", {f"seed.{end}": data}, (f"seed.{end}",))
        for end, data in packed.items()
    ]


def _zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _tarred(members: dict[str, bytes], mode: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()
