"""Bytes of healthy files changed at random: an error of this library or a result, nothing else.

Run as a program with a folder, so that a crash of a library ends no other test.
"""

import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError

ROUNDS = 100
NAMES = ("f.txt", "f.vec.gz", "f.txt.zip", "f.bin", "f.safetensors", "f.h5", "packed.h5")
ODD_BYTES = (0, 1, 10, 32, 127, 128, 255)
VERBS: tuple[Callable[[Path], object], ...] = (
    lambda path: list(ef.read(path).tokens),
    lambda path: ef.load(path, ef.Vocabulary(["token3", "none"])),
    ef.inspect,
)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four changes: a byte replaced, some taken out, some put in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, kind = chance.randrange(len(changed)), chance.random()
        if kind < 0.7:
            changed[at] = chance.choice([*ODD_BYTES, chance.randrange(256)])
        elif kind < 0.85:
            del changed[at : at + chance.randint(1, 20)]
        else:
            changed[at:at] = chance.randbytes(chance.randint(1, 20))
    return bytes(changed)


def healthy(path: Path) -> bytes:
    matrix = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    e = ef.Embeddings([f"token{i}" for i in range(40)], matrix)
    ef.write(e, path)
    if path.name == "packed.h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("v", data=matrix, chunks=(8, 5), compression="gzip", shuffle=True)
            file["t"] = np.array([token.encode() for token in e.tokens])
    return path.read_bytes()


def refusals(path: Path) -> list[str]:
    """The errors of this library; one of another kind is raised."""
    told = []
    for verb in VERBS:
        try:
            verb(path)
        except EmbedFreezeError as error:
            told.append(str(error))
    return told


def main(folder: Path, seed: int) -> None:
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    for name in NAMES:
        data, told = healthy(folder / name), []
        for _ in range(ROUNDS):
            (folder / "mutant").write_bytes(mutate(data, chance))
            told += refusals(folder / "mutant")
        assert told, f"nothing was refused of {name}"
        assert len(max(told, key=len)) < 1000
        print(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
