"""The catalogue of hostile files. Run it, with tests/ on the path, to write README.md."""

from pathlib import Path

from entries import Entry, Outcome, Refused
from of_arrays import ARRAYS
from of_binary import BINARY
from of_hdf5 import HDF5_FILES
from of_libraries import LIBRARIES
from of_packed import PACKED_FILES
from of_stores import STORES
from of_systems import SYSTEMS
from of_text import TEXT

README = Path(__file__).parent / "README.md"
# A number, once given, stays: new entries stand at the end of their part.
PARTS: dict[int, tuple[str, list[Entry]]] = {
    100: ("Text", TEXT),
    200: ("Packed files", PACKED_FILES),
    300: ("Binary files", BINARY),
    400: ("Stores", STORES),
    500: ("HDF5", HDF5_FILES),
    600: ("Systems and targets", SYSTEMS),
    700: ("finalfusion, Magnitude and gensim", LIBRARIES),
    800: ("Arrays, tensors and their tokens", ARRAYS),
}
ENTRIES: dict[int, Entry] = {
    base + i: entry for base, (_, part) in PARTS.items() for i, entry in enumerate(part, 1)
}
HEAD = """# Hostile files

Every entry is a file that is damaged, hostile or merely odd. `read`, `load`, `inspect` and the
command line's `convert` are called on each, and do what the table says, to the letter of the
message; where one of the four does something else, the entry says so in its module. None of them
crashes, takes longer than {seconds} seconds, leaves a file behind or a file open, or takes memory
for what a file only claims. `{{path}}` is the file, `{{out}}` the folder of the target,
`{{formats}}` the names of all formats, and `{{...}}` words of another library.

Nothing here is stored: code makes each file when the tests run. This page is written by
`PYTHONPATH=tests python tests/hostile/catalogue.py`, and a test fails if it is not up to date.
"""


def told(outcome: Outcome) -> str:
    """An outcome in a cell of the table."""
    if isinstance(outcome, Refused):
        return f"refused: {code(outcome.message)}"
    warned = "".join(f"; warning: {code(message)}" for message in outcome.warnings)
    return f"read as it is, {len(outcome.tokens)} rows{warned}"


def code(text: str) -> str:
    """Text in a cell of Markdown, as it is."""
    return "`" + text.replace("|", "\\|") + "`"


def described() -> str:
    """The whole page."""
    from checking import SECONDS

    lines = [HEAD.format(seconds=SECONDS)]
    for base, (title, part) in PARTS.items():
        lines += [f"## {title}", "", "| number | what | outcome |", "| --- | --- | --- |"]
        for i, entry in enumerate(part, 1):
            lines.append(f"| {base + i} | {entry.name} | {told(entry.outcome)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    README.write_text(described(), encoding="utf-8")
