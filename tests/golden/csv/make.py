"""Makes the files of this folder: tables as people and programs write them.

``pandas.csv``, ``polars.csv`` and ``pandas-index.csv`` are those libraries' own; the others are
spelled by hand. Each holds TOKENS and VALUES, but for what its name says.
"""

from pathlib import Path

import pandas as pd
import polars as pl

HERE = Path(__file__).parent
TOKENS = ["king", "New York, NY", 'say "hi"', "caf\u00e9", "2003"]
VALUES = [[0.5, -0.25, 1e-05], [1, 2, 3], [0.1, -0.2, 0.3], [7e20, -0.0, 0.0625], [0.7, 0.8, 0.9]]
PLAIN = ["king", "New York", "queen", "caf\u00e9", "2003"]


def rows(delimiter: str, tokens: list[str], quote: str = "", comma: str = ".") -> list[str]:
    lines = []
    for token, values in zip(tokens, VALUES, strict=True):
        numbers = [f"{quote}{value!r}{quote}".replace(".", comma) for value in values]
        lines.append(delimiter.join([f"{quote}{token}{quote}", *numbers]))
    return lines


def put(name: str, lines: list[str], end: str = "\n", start: str = "") -> None:
    (HERE / name).write_bytes((start + end.join([*lines, ""])).encode())


def main() -> None:
    columns = {f"d{i}": [row[i] for row in VALUES] for i in range(3)}
    pd.DataFrame({"token": TOKENS, **columns}).to_csv(HERE / "pandas.csv", index=False)
    pd.DataFrame(VALUES, index=TOKENS).to_csv(HERE / "pandas-index.csv")
    pd.DataFrame({"word": TOKENS, **columns}).to_csv(HERE / "pandas-numbered.csv")
    pl.DataFrame({"token": TOKENS, **columns}).write_csv(HERE / "polars.csv")
    put("plain.csv", rows(",", PLAIN))
    put("excel.csv", ["token;a;b;c", *rows(";", PLAIN, comma=",")], "\r\n", "\ufeff")
    put("bars.csv", rows("|", PLAIN))
    put("all-quoted.csv", ['"word","x","y","z"', *rows(",", PLAIN, '"')])
    put("blanks-behind-commas.csv", rows(", ", PLAIN))
    put(
        "token-last.csv",
        [",".join(line.split(",")[1:] + line.split(",")[:1]) for line in rows(",", PLAIN)],
    )
    put(
        "line-feeds.csv",
        ["token,d0,d1,d2", *rows(",", ['"two\nlines"', '"a,b"', "c", '""""', "d"])],
    )
    put(
        "r.tsv",
        [
            '"V1"\t"V2"\t"V3"',
            *(
                f'"{t}"\t' + line.split("\t", 1)[1]
                for t, line in zip(PLAIN, rows("\t", PLAIN), strict=True)
            ),
        ],
    )
    put("plain.tsv", rows("\t", PLAIN))
    put(
        "tab-then-spaces.tsv",
        [line.replace(" ", "\t", 1) for line in rows(" ", ["a", "b", "c", "d", "e"])],
    )
    put(
        "aligned.tsv",
        [
            f"{t:>12}" + "".join(f"{v!r:>12}" for v in row)
            for t, row in zip(PLAIN, VALUES, strict=True)
        ],
    )
    put(
        "header.tsv",
        [
            "5 3",
            *(
                line.replace("\t", " ").replace("New ", "New_").replace(" ", "\t", 1)
                for line in rows("\t", PLAIN)
            ),
        ],
    )


if __name__ == "__main__":
    main()
