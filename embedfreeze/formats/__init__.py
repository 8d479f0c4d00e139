"""Reading and writing embedding files: a table of formats, each found by the file's content."""

from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.duplicates import Duplicates, FirstRows
from embedfreeze.formats.progress import tracked
from embedfreeze.formats.table import FORMATS
from embedfreeze.formats.verbs import (
    TableLike,
    embeddings_of,
    open_reading,
    read,
    warn_of_skipped,
)
from embedfreeze.formats.writing import check_store_name, check_target, write, write_rows

__all__ = [
    "FORMATS",
    "Batch",
    "Duplicates",
    "FirstRows",
    "Format",
    "ReadOptions",
    "Reading",
    "Rows",
    "TableLike",
    "Writer",
    "check_store_name",
    "check_target",
    "embeddings_of",
    "open_reading",
    "read",
    "tracked",
    "warn_of_skipped",
    "write",
    "write_rows",
]
