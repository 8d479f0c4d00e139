"""Makes the files of this folder, with the writers of pyarrow, pandas and polars."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

HERE = Path(__file__).parent
TOKENS = ["king", "New York", "caf\u00e9", "a\nb", "", "queen", "man", "2003", "\U0001f600", "x"]
DIM = 12


def matrix() -> np.ndarray:
    return (np.random.default_rng(0).integers(-9999, 9999, (10, DIM)) / 7000).astype(np.float32)


def main() -> None:
    m = matrix()
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(m.ravel()), DIM)
    half = pa.FixedSizeListArray.from_arrays(pa.array(m.astype(np.float16).ravel()), DIM)
    lists = pa.array(list(m))
    order = [7, 3, 0, 11, 10, 9, 1, 2, 8, 4, 5, 6]
    columns = {f"dim_{i}": m[:, i] for i in order}
    tables = {
        "fixed": pa.table({"token": TOKENS, "vector": fixed}),
        "half": pa.table({"token": TOKENS, "vector": half}),
        "lists": pa.table({"id": range(10), "word": TOKENS, "embedding": lists}),
        "large": pa.table(
            {
                "word": pa.array(TOKENS, pa.large_string()),
                "v": pa.array(list(m.astype(np.float64)), pa.large_list(pa.float64())),
            }
        ),
        "dictionary": pa.table({"word": pa.array(TOKENS).dictionary_encode(), "v": lists}),
        "columns": pa.table({"frequency": range(10), **columns, "token": TOKENS}),
    }
    for (name, table), packed in zip(tables.items(), ["none", "snappy", "zstd"] * 2, strict=True):
        pq.write_table(table, HERE / f"{name}.parquet", compression=packed, row_group_size=4)
        feather = {"none": "uncompressed", "snappy": "lz4"}.get(packed, packed)
        path = str(HERE / f"{name}.feather")
        pyarrow.feather.write_feather(table, path, compression=feather, chunksize=4)
    with pa.ipc.new_stream(str(HERE / "stream.arrows"), tables["fixed"].schema) as stream:
        stream.write_table(tables["fixed"], 4)
    pd.DataFrame(m, index=TOKENS).to_parquet(HERE / "pandas-index.parquet")
    pl.DataFrame({"token": TOKENS, "vector": m}).write_parquet(HERE / "polars.parquet")


if __name__ == "__main__":
    main()
