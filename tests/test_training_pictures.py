"""What a training shows: the cost of its checks in TensorBoard, and its history as a picture."""

import gc
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from test_training import IDS, LABELS, STEPS, corrupt, stock

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FrozenBytesChanged
from embedfreeze.training import FreezeGuard

COST, COUNT = "freeze_guard/microseconds_per_check", "freeze_guard/steps_checked"
HISTORY = {"accuracy": [0.5, 0.6, 0.9], "loss": [3.0, 2.0, 1.5], "val_loss": [3.5, 2.5, 2.75]}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: of each tag the steps and values."""
    events = EventAccumulator(str(folder))
    events.Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        listed = events.Tensors(tag)
        found[tag] = [(event.step, float(make_ndarray(event.tensor_proto))) for event in listed]
    return found


def fit(model: keras.Model, *callbacks: Any, epochs: int = 3) -> Any:
    return model.fit(
        IDS, LABELS, batch_size=4, epochs=epochs, verbose=0, shuffle=False, callbacks=[*callbacks]
    )


@pytest.mark.parametrize("several", [1, 4])
def test_the_guard_logs_its_cost_and_the_steps(several: int, tmp_path: Path) -> None:
    guard = FreezeGuard(log_dir=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
    fit(stock(steps_per_execution=several), guard)
    found = scalars(tmp_path / "logs")
    assert sorted(found) == [COST, COUNT]
    assert found[COUNT] == [(0, STEPS), (1, 2 * STEPS), (2, 3 * STEPS)]
    assert [step for step, _ in found[COST]] == [0, 1, 2]
    assert all(cost > 0 for _, cost in found[COST])
    assert guard.proof().steps == 3 * STEPS


def test_the_cost_is_the_mean_of_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**9))  # of nanoseconds: it is asked twice for each check
    squares = SimpleNamespace(perf_counter_ns=lambda: 3000 * next(clock) ** 2)
    monkeypatch.setattr("embedfreeze.checklog.time", squares)
    fit(stock(), FreezeGuard(log_dir=tmp_path), epochs=2)
    checks = [3 * ((2 * i + 1) ** 2 - (2 * i) ** 2) for i in range(2 * STEPS)]
    means = [np.mean(checks[:STEPS]), np.mean(checks[STEPS:])]
    assert scalars(tmp_path)[COST] == [(0, means[0]), (1, means[1])]


def test_a_second_fit_goes_on_in_the_same_log(tmp_path: Path) -> None:
    guard, model = FreezeGuard(log_dir=tmp_path), stock()
    gc.collect()  # what earlier tests left open
    open_files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        fit(model, guard, epochs=2)
    assert scalars(tmp_path)[COUNT] == [(i, (i + 1) * STEPS) for i in range(6)]
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= open_files


def test_without_a_log_nothing_is_timed() -> None:
    guard = FreezeGuard()
    assert guard._check_step == guard._check_now


def test_a_logging_guard_still_finds_a_change(tmp_path: Path) -> None:
    model = stock()

    class Spoil(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 4:
                corrupt(model)

    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, FreezeGuard(log_dir=tmp_path), Spoil())
    assert caught.value.step == 5


def test_guards_that_cannot_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="log_dir tells of checks"):
        FreezeGuard("off", log_dir=tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="the log cannot be written"):
        fit(stock(), FreezeGuard(log_dir=tmp_path / "file"))
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.scalar.summary_v2", None)
    with pytest.raises(EmbedFreezeError, match=r'pip install "embedfreeze\[tensorboard\]"'):
        FreezeGuard(log_dir=tmp_path)


def drawn(figure: Any) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Of each panel the curves: epochs and values."""
    return {
        axes.get_title(): {
            line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
            for line in axes.lines
        }
        for axes in figure.axes
    }


def test_a_history_is_drawn_measure_by_measure() -> None:
    epochs = [1, 2, 3]
    panels = drawn(ef.plot_history(HISTORY))
    assert list(panels) == ["loss", "accuracy"]
    assert panels == {
        "loss": {
            "training": (epochs, HISTORY["loss"]),
            "validation": (epochs, HISTORY["val_loss"]),
        },
        "accuracy": {"training": (epochs, HISTORY["accuracy"])},
    }


def test_what_fit_returns_is_drawn() -> None:
    model = stock()
    model.compile("sgd", "mse", metrics=["mae"])
    options = {"validation_split": 0.5, "validation_freq": 2, "verbose": 0}
    history = model.fit(IDS, LABELS, epochs=6, initial_epoch=2, **options)
    panels = drawn(ef.plot_history(history))
    assert list(panels) == ["loss", "mae"]
    values = history.history
    assert panels["mae"]["training"] == ([3, 4, 5, 6], values["mae"])
    assert panels["mae"]["validation"] == ([4, 6], values["val_mae"])


def test_pictures_are_saved(tmp_path: Path) -> None:
    many = HISTORY | {f"metric_{i}": [0.1, float("nan"), 0.3] for i in range(3)}
    for suffix in (".png", ".svg"):
        paths = [tmp_path / f"{i}{suffix}" for i in range(2)]
        for path in paths:
            figure = ef.plot_history(many, path)
            assert len(figure.axes) == 5
        assert paths[0].read_bytes() == paths[1].read_bytes()
    pixels = matplotlib.image.imread(tmp_path / "0.png")
    assert pixels.shape[1] > pixels.shape[0] > 500
    assert pixels[..., :3].std() > 0.05
    assert ET.parse(tmp_path / "0.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_pictures_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"must end in \.png or \.svg, received '\.pdf'"):
        ef.plot_history(HISTORY, tmp_path / "a.pdf")
    ef.plot_history(HISTORY, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(FileError, match="exists"):
        ef.plot_history({"loss": [1.0]}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    ef.plot_history({"loss": [1.0]}, tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() != before
    for empty in ({}, {"loss": []}):
        with pytest.raises(EmbedFreezeError, match="received none: train first"):
            ef.plot_history(empty)
    with pytest.raises(TypeError, match="must be what fit returns"):
        ef.plot_history([1.0, 2.0])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(EmbedFreezeError, match=r'pip install "embedfreeze\[report\]"'):
        ef.plot_history(HISTORY)
