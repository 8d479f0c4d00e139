"""Tables copied to a device: a second logical CPU, and a GPU where there is one.

On a machine with a GPU, `pytest tests/test_on_device.py` runs them on both.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from two_cpus import IDS, VALUES, run_cases

import embedfreeze as ef

needs_gpu = pytest.mark.skipif(
    not tf.config.list_physical_devices("GPU"), reason="TensorFlow sees no GPU"
)


on_each_device = pytest.mark.parametrize(
    "device", ["CPU:1", pytest.param("GPU:0", marks=needs_gpu)]
)


@on_each_device
def test_copies(device: str, tmp_path: Path) -> None:
    env = {"EMBEDFREEZE_TEST_DEVICE": device, "EMBEDFREEZE_TEST_HOME": str(tmp_path)}
    assert run_cases("device_cases.py", tmp_path, "not slow", **env) >= 50
    left = json.loads((tmp_path / "left.json").read_text(encoding="utf-8"))
    if device not in [d.name.rpartition("device:")[2] for d in tf.config.list_logical_devices()]:
        assert_loads_in_place(tmp_path / "left.keras", left)
        served = tf.saved_model.load(str(tmp_path / "served"))
        assert np.abs(served.serve(IDS).numpy() - left["predicted"]).max() < 1e-6


@pytest.mark.slow
@on_each_device
def test_copies_in_long_runs(device: str, tmp_path: Path) -> None:
    assert run_cases("device_cases.py", tmp_path, "slow", EMBEDFREEZE_TEST_DEVICE=device) >= 1


def assert_loads_in_place(path: Path, left: dict[str, Any]) -> None:
    """With a warning, where the device of the model is not."""
    with pytest.warns(UserWarning, match=f"'{left['device']}', which is not there"):
        model = ef.load_model(path)
    layer = model.layers[1]
    assert (layer.table.device, layer.table.how) == ("CPU:0", "address")
    assert layer(IDS).numpy().tobytes() == VALUES[IDS].tobytes()
    (proof,) = ef.verify(model, deep=True).tables
    assert proof.digest == left["digest"]
    assert layer.get_config()["device"] == "CPU:0"
