"""Make the files of this folder: ``python tests/golden/magnitude/make.py``.

They have the schema of Magnitude's converter (https://github.com/plasticityai/magnitude), whose
package can no longer be built; README.md says what is in them.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
WORDS = ["The", "the", "caf\u00e9", "New York", "x\ny", "the", "zero"]
PRECISION = 7
DIM = 3


def matrix() -> np.ndarray:
    """Rows of all sizes; the last one is zeros."""
    rows = np.random.default_rng(7).standard_normal((len(WORDS), DIM))
    rows *= 10.0 ** np.arange(len(WORDS))[:, None]
    rows[-1] = 0
    return rows.astype(np.float32)


def row(vector: np.ndarray, precision: int) -> list[float]:
    """Whole numbers of a vector of unit length, and its norm; of zeros it is the smallest."""
    norm = float(np.linalg.norm(vector))
    unit = vector / norm if norm else np.full(len(vector), 10.0**-precision)
    return [*(round(float(value) * 10**precision) for value in unit), norm]


def write(
    path: Path,
    words: Sequence[str],
    rows: np.ndarray,
    *,
    precision: int = PRECISION,
    norms: bool = True,
    index: bool = True,
    size: int | None = None,
) -> None:
    """A database in pages of 512 bytes."""
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path, isolation_level=None)
    columns = "".join(f", dim_{i} INTEGER" for i in range(rows.shape[1]))
    columns += ", magnitude REAL" if norms else ""
    database.execute("PRAGMA page_size = 512")
    database.execute(f"CREATE TABLE `magnitude` (key TEXT COLLATE NOCASE{columns})")
    database.execute("CREATE TABLE `magnitude_format` (key TEXT COLLATE NOCASE, value INTEGER)")
    for word, vector in zip(words, rows, strict=True):
        values = row(vector, precision)[: None if norms else -1]
        marks = ", ?" * len(values)
        database.execute(f"INSERT INTO `magnitude` VALUES (?{marks})", (word, *values))
    settings = {
        "version": 2,
        "elmo": 0,
        "size": len(words) if size is None else size,
        "dim": rows.shape[1],
        "precision": precision,
    }
    database.executemany("INSERT INTO `magnitude_format` VALUES (?, ?)", settings.items())
    for column in range(rows.shape[1]):
        database.execute("INSERT INTO `magnitude_format` VALUES ('entropy', ?)", (column,))
    if index:
        database.execute("CREATE INDEX `magnitude_key_idx` ON `magnitude` (key)")
        database.execute("CREATE INDEX `magnitude_dim_0_idx` ON `magnitude` (dim_0)")
    database.execute("VACUUM")
    database.close()


def main() -> None:
    """Make all files."""
    write(HERE / "words.magnitude", WORDS, matrix())
    write(HERE / "old.magnitude", WORDS[:3], matrix()[:3], precision=4, norms=False, index=False)


if __name__ == "__main__":
    main()
