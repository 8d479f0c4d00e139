"""Cases of one format, guided by which lines of the readers they reach; by hand, needs atheris.

``python tests/fuzz/guided.py FORMAT [options of libFuzzer, such as -max_total_time=600]``
"""

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["embedfreeze"]):
    from cases import placed, timed, verbs
    from seeds import PACKED, seeds_of

    from embedfreeze.errors import EmbedFreezeError
    from embedfreeze.formats import FORMATS


def main(subject: str, *options: str) -> None:
    """The seeds are the beginning; what is found stands in the working folder."""
    warnings.simplefilter("ignore")
    print(len(FORMATS), "formats")  # their modules are imported, and instrumented, by this
    with tempfile.TemporaryDirectory(prefix="embedfreeze-guided-") as name:
        folder = Path(name)
        for part in ("made", "corpus", "case"):
            (folder / part).mkdir()
        seeds = seeds_of(subject, folder / "made")
        for number, seed in enumerate(seeds):
            (folder / "corpus" / str(number)).write_bytes(seed.files[seed.changed[0]])
        first = seeds[0]
        for file, data in first.files.items():
            (folder / "case" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "case" / file).write_bytes(data)

        def one(data: bytes) -> None:
            (folder / "case" / first.changed[0]).write_bytes(data)
            settings = placed({**first.options, "unicode_errors": "replace"}, folder / "case")
            format = None if subject == PACKED else subject
            for verb in verbs(folder / "case" / first.main, format, settings):
                with contextlib.suppress(EmbedFreezeError), timed():
                    verb()

        atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
