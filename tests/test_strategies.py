"""Frozen tables under the strategies of `tf.distribute`, in processes of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_cpus import run_cases
from two_workers import run_workers

import embedfreeze as ef

TESTS = Path(__file__).parent
ROWS, DIM = 1 << 16, 128  # 32 MiB


@pytest.mark.slow
def test_mirrored_on_two_logical_cpus(tmp_path: Path) -> None:
    assert run_cases("mirrored_cases.py", tmp_path, "not slow") >= 9


@pytest.mark.slow
def test_mirrored_in_long_runs_and_what_keras_cannot_do(tmp_path: Path) -> None:
    assert run_cases("mirrored_cases.py", tmp_path, "slow") >= 6


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two workers saw, each over a store file of its own."""
    home = tmp_path_factory.mktemp("workers")
    values = np.random.default_rng(5).normal(size=(ROWS, DIM)).astype("float32")
    stores = [home / f"worker{index}.safetensors" for index in range(2)]
    for store in stores:
        ef.write(ef.Embeddings([f"word{row}" for row in range(ROWS)], values), store)
    printed = run_workers(TESTS / "worker_case.py", [*enumerate(stores)])
    reports = [json.loads(output.splitlines()[-1]) for output in printed]
    assert [Path(report["path"]) for report in reports] == stores
    return reports


def test_each_worker_maps_its_own_file_and_proves_it(workers: list[dict[str, Any]]) -> None:
    for report in workers:
        assert report["mapped"]
        assert report["guarantee"] == "watched"
        assert report["added"] < ROWS * DIM * 4 // 2
    assert workers[0]["digest"] == workers[1]["digest"]


def test_what_a_strategy_creates_is_broadcast_to_a_copy(workers: list[dict[str, Any]]) -> None:
    """So a frozen variable that were created that way would be one."""
    assert not workers[1]["broadcast mapped"]


def test_workers_train_together(workers: list[dict[str, Any]]) -> None:
    first, second = workers
    assert first["replicas"] == second["replicas"] == 2
    assert first["losses"] == second["losses"]
    assert len(first["losses"]) == 4
    assert first["weights"] == second["weights"]


def test_a_table_that_changes_on_one_worker_is_caught_there(workers: list[dict[str, Any]]) -> None:
    assert workers[0]["after"] == "nothing"
    assert workers[1]["after"] == ["frozen_embedding", 7, "word7"]


def test_fit_of_keras_fails_over_any_layer(workers: list[dict[str, Any]]) -> None:
    """Before its first step; so a model over several workers needs a loop of its own."""
    for report in workers:
        for said in report["fit"]:
            assert said.startswith("ValueError: Attempt to convert a value (PerReplica:{")
