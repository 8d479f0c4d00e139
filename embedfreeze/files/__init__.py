"""Opening files (mapped, compressed, in an archive) and writing them whole or not at all."""

from embedfreeze.files.containers import Container
from embedfreeze.files.identity import FileIdentity
from embedfreeze.files.inputs import PathLike, PathOrFile, name_of
from embedfreeze.files.libraries import PatientFile
from embedfreeze.files.mapped import Guard, release_pages
from embedfreeze.files.output import Output, atomic_files, atomic_output, check_output, move_body
from embedfreeze.files.source import HEAD_BYTES, Source, open_source

__all__ = [
    "HEAD_BYTES",
    "Container",
    "FileIdentity",
    "Guard",
    "Output",
    "PathLike",
    "PathOrFile",
    "PatientFile",
    "Source",
    "atomic_files",
    "atomic_output",
    "check_output",
    "move_body",
    "name_of",
    "open_source",
    "release_pages",
]
