"""Opening files (mapped, compressed, in an archive) and writing them whole or not at all."""

from embedfreeze.files.compressions import Inflater
from embedfreeze.files.identity import FileIdentity
from embedfreeze.files.inputs import PathLike, PathOrFile, name_of
from embedfreeze.files.libraries import PatientFile
from embedfreeze.files.mapped import Guard, release_pages
from embedfreeze.files.output import (
    Output,
    atomic_files,
    atomic_output,
    check_output,
    move_body,
    refuse_input,
    streamed_output,
)
from embedfreeze.files.outputfolder import atomic_folder, check_folder
from embedfreeze.files.packing import split_packed
from embedfreeze.files.remote import is_remote
from embedfreeze.files.source import HEAD_BYTES, Source, open_source
from embedfreeze.files.spool import SPOOL_LIMIT, byte_count, spooled_input

__all__ = [
    "HEAD_BYTES",
    "SPOOL_LIMIT",
    "FileIdentity",
    "Guard",
    "Inflater",
    "Output",
    "PathLike",
    "PathOrFile",
    "PatientFile",
    "Source",
    "atomic_files",
    "atomic_folder",
    "atomic_output",
    "byte_count",
    "check_folder",
    "check_output",
    "is_remote",
    "move_body",
    "name_of",
    "open_source",
    "refuse_input",
    "release_pages",
    "split_packed",
    "spooled_input",
    "streamed_output",
]
