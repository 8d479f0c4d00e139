"""Reading and writing embedding files: a table of formats, each found by the file's content."""

from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.duplicates import Duplicates, FirstRows
from embedfreeze.formats.progress import tracked
from embedfreeze.formats.table import FORMATS
from embedfreeze.formats.verbs import (
    check_target,
    open_reading,
    read,
    warn_of_skipped,
    write,
    write_rows,
)

__all__ = [
    "FORMATS",
    "Batch",
    "Duplicates",
    "FirstRows",
    "Format",
    "ReadOptions",
    "Reading",
    "Rows",
    "Writer",
    "check_target",
    "open_reading",
    "read",
    "tracked",
    "warn_of_skipped",
    "write",
    "write_rows",
]
