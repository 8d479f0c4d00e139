"""The table of formats, and what other packages put into it."""

from pathlib import Path

from samples import child, put

from embedfreeze.files import open_source
from embedfreeze.formats.table import BUILT_IN, FORMATS

GOLDEN = Path(__file__).parent / "golden"

PLUGIN = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
import embedfreeze as ef
from embedfreeze.formats import FORMATS

sample = "data/glove.6B.50d.sample.txt"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(len(ef.read(sample)), len(caught))
    print(len(FORMATS), "good" in FORMATS, "bad" in FORMATS, "glove" in FORMATS)
    print(*[warning.message for warning in caught], sep="\\n")
"""


def test_each_format_has_its_name() -> None:
    assert [found.name for found in FORMATS.values()][: len(BUILT_IN)] == list(BUILT_IN)
    assert len(FORMATS) == len(list(FORMATS))


def test_no_start_rules_out_a_format_that_knows_the_content() -> None:
    """What spares the imports must say no more than the formats themselves."""
    known, wrong = set(), []
    for path in sorted(path for path in GOLDEN.rglob("*") if path.is_file()):
        with open_source(path) as source:
            for name, start in BUILT_IN.items():
                if FORMATS[name].sniff(source):
                    known.add(name)
                    wrong += [] if start.may_be(source) else [(name, path.name)]
    assert not wrong
    assert known >= {name for name, start in BUILT_IN.items() if start.begins}


def test_text_is_read_without_the_modules_of_other_formats() -> None:
    modules = child(
        "import sys, embedfreeze as ef; ef.read('data/glove.6B.50d.sample.txt');"
        "print(*[m for m in sys.modules if m.startswith('embedfreeze.formats.')])"
    )
    assert "embedfreeze.formats.texts.glove" in modules
    binary = {f"embedfreeze.formats.{b.where.split(':')[0]}" for b in BUILT_IN.values() if b.begins}
    assert not binary & {*modules.split()}


def test_a_suffix_asks_for_one_format() -> None:
    suffixes = [s for found in FORMATS.values() if found.writer for s in found.writer.suffixes]
    assert len(set(suffixes)) == len(suffixes)


def test_formats_of_other_packages(tmp_path: Path) -> None:
    """One that cannot be loaded is left out, and is not looked for where it is not needed."""
    put(
        tmp_path / "plugin.py",
        b"from embedfreeze.formats import Format\n"
        b"GOOD = Format('good', lambda source: False, None)\n"
        b"OTHER = Format('other', lambda source: False, None)\n",
    )
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    put(info / "METADATA", b"Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    put(
        info / "entry_points.txt",
        b"[embedfreeze.formats]\ngood = plugin:GOOD\nbad = plugin:NOTHING\nlost = no_such:X\n"
        b"misnamed = plugin:OTHER\nglove = plugin:GOOD\n",
    )
    read, table, *warned = child(PLUGIN, tmp_path).splitlines()
    assert read == "7074 0"
    assert table == f"{len(BUILT_IN) + 1} True False True"
    assert [message.split("'")[1] for message in warned] == ["bad", "lost", "misnamed"]
    assert all("update or remove that package" in message for message in warned)
