"""The main job on the real sample, as `make demo` runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedfreeze.demo import SENTENCES, Sentences
from embedfreeze.errors import FileError

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_demo_with_sentences_piped_in() -> None:
    said = subprocess.run(
        [Path(sys.executable).with_name("embedfreeze"), "demo", "--data", ROOT / "data"],
        input="Great product, I love it.\n\nTerrible, a waste of money!\n",
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "error::UserWarning"},
    )
    assert said.returncode == 0, said.stderr
    accuracy = float(re.search(r"accuracy (0\.\d+) \(mean of 5 splits\)", said.stdout)[1])
    assert accuracy >= 0.75
    before = re.search(r"digest before ([0-9a-f]{64})\n", said.stdout)[1]
    assert f"digest after  {before}\n" in said.stdout
    assert "exact     4956  94.1%" in said.stdout
    assert re.search(r"cost of the check \d+ microseconds a step", said.stdout)
    *_, first, second = said.stdout.splitlines()
    assert re.fullmatch(r"positive \([01]\.\d\d\)  Great product, I love it\.", first)
    assert re.fullmatch(r"negative \([01]\.\d\d\)  Terrible, a waste of money!", second)


def test_splits_are_stratified_and_seeded() -> None:
    sentences = Sentences.from_file(str(ROOT / "data" / SENTENCES))
    train, test = sentences.split(3)
    assert sorted([*train, *test]) == list(range(3000))
    assert len(test) == 600
    assert sentences.labels[test].mean() == sentences.labels.mean() == 0.5
    assert np.array_equal(train, sentences.split(3)[0])
    assert not np.array_equal(train, sentences.split(4)[0])


def test_sample_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--data"):
        Sentences.from_file(str(tmp_path / "none.tsv"))
