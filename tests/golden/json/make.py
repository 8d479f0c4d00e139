"""Makes the files of this folder: the shapes that JSON of embeddings has, by Python's `json`."""

import json
from pathlib import Path

HERE = Path(__file__).parent
TOKENS = ["king", 'say "hi"', "caf\u00e9", "\U0001f600", "a\\b\n", ""]
VALUES = [
    [0.5, -0.25, 1e-05],
    [1, 2, 3],
    [0.1, -0.2, 0.3],
    [7e20, -0.0, float("inf")],
    [float("nan"), -float("inf"), 1e-45],
    [0.7, 0.8, 0.9],
]


def main() -> None:
    pairs = dict(zip(TOKENS, VALUES, strict=True))
    records = [{"token": token, "vector": row} for token, row in pairs.items()]
    turned = [{"vector": row, "token": token} for token, row in pairs.items()]
    shapes = {
        "object.json": json.dumps(pairs),
        "object-indented.json": json.dumps(pairs, indent=2, ensure_ascii=False),
        "lists.json": json.dumps([[token, row] for token, row in pairs.items()]),
        "flat.json": json.dumps([[token, *row] for token, row in pairs.items()]),
        "records.json": json.dumps(records),
        "records-turned.json": json.dumps(turned, indent=1),
        "lines.jsonl": "".join(json.dumps(record) + "\n" for record in records),
        "pairs.jsonl": "".join(json.dumps({t: row}) + "\r\n" for t, row in pairs.items()),
    }
    for name, text in shapes.items():
        (HERE / name).write_bytes(text.encode())


if __name__ == "__main__":
    main()
