"""What the name of a file says of its content, where that is something else."""

from __future__ import annotations

import os

from embedfreeze.formats.inspecting.remarks import Remark
from embedfreeze.formats.table import FORMATS

__all__ = ["name_remark"]

# Suffixes of containers, and what their content is called here.
PACKED = {
    ".gz": "gzip",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".zst": "zstd",
    ".zip": "zip",
    ".tar": "tar",
    ".tgz": "tar.gz",
    ".keras": "zip",
}
ANY_TEXT = (".txt", ".vec", ".glove", ".w2v", ".csv", ".tsv", ".dat", ".data", ".emb")
TEXTS = ("glove", "word2vec-text", "csv", "tsv", "projector")
# Formats that are read, or that several kinds of files have a suffix of.
MORE = {
    ".bin": ("word2vec", "fasttext"),
    ".ftz": ("fasttext",),
    ".npy": ("npy",),
    ".npz": ("npz",),
    ".h5": ("hdf5", "allennlp", "keras"),
    ".hdf5": ("hdf5", "allennlp", "keras"),
    ".safetensors": ("store", "safetensors", "model2vec"),
    ".model": ("gensim",),
    ".kv": ("gensim",),
    ".parquet": ("parquet",),
    ".feather": ("arrow",),
    ".arrow": ("arrow",),
    ".fifu": ("finalfusion",),
    ".magnitude": ("magnitude",),
    ".json": ("json", "safetensors", "model2vec"),
}


def name_remark(path: str, format: str | None, container: str | None) -> Remark | None:
    """The remark on a name that says another container or format than the content does."""
    stem, suffix = os.path.splitext(os.path.basename(path).lower())
    promised = PACKED.get(suffix)
    if container is not None and not _is_container(suffix, stem, container):
        return _remark(container, suffix)
    if promised is not None and container is None:
        return _remark(format or "something else", suffix)
    inner = os.path.splitext(stem)[1] if promised is not None else suffix
    known = _formats_named(inner)
    if format is None or container is not None or not known or format in known:
        return None
    return _remark(format, inner)


def _remark(what: str, suffix: str) -> Remark:
    message = f"{what} under {'a ' + suffix if suffix else 'no'} name"
    return Remark("name", f"{message}: the content decides how it is read")


def _is_container(suffix: str, stem: str, container: str) -> bool:
    """Does a name promise this container, or nothing that contradicts it?"""
    if suffix in PACKED:
        packed = PACKED[suffix]
        return packed == container or (container.startswith("tar") and stem.endswith(".tar"))
    return not _formats_named(suffix)


def _formats_named(suffix: str) -> set[str]:
    """The formats that a suffix stands for."""
    if suffix in ANY_TEXT:
        return set(TEXTS)
    named = {n for n, f in FORMATS.items() if f.writer is not None and suffix in f.writer.suffixes}
    return named | set(MORE.get(suffix, ()))
