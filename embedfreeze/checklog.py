"""What the checks of a training cost, written for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from embedfreeze.backend import tf
from embedfreeze.errors import EmbedFreezeError, FileError
from embedfreeze.files import PathLike, name_of

__all__ = ["COST", "COUNT", "CheckLog"]

COST, COUNT = "freeze_guard/microseconds_per_check", "freeze_guard/steps_checked"
Find = Callable[[], Any]


class CheckLog:
    """Times checks, and writes their mean cost after each epoch.

    Parameters
    ----------
    log_dir : path
        Of TensorBoard.

    Raises
    ------
    EmbedFreezeError
        TensorBoard is not installed.
    """

    def __init__(self, log_dir: PathLike) -> None:
        try:  # TensorFlow leaves tf.summary.scalar to it
            import_module("tensorboard.plugins.scalar.summary_v2")
        except ImportError as error:
            raise EmbedFreezeError(
                f"log_dir needs TensorBoard, which TensorFlow writes with, received: {error}: "
                f'pip install "embedfreeze[tensorboard]"'
            ) from error
        self._folder = name_of(log_dir)
        self._writer: Any = None
        self._epochs = self._nanoseconds = self._checks = 0

    def timed(self, check: Callable[[Find], None]) -> Callable[[Find], None]:
        """The same check, whose time is added up."""

        def run(find: Find) -> None:
            start = time.perf_counter_ns()
            check(find)
            self._nanoseconds += time.perf_counter_ns() - start
            self._checks += 1

        return run

    def begin(self) -> None:
        """Open the log.

        Raises
        ------
        FileError
            It cannot be written.
        """
        with self._errors():
            self._writer = tf.summary.create_file_writer(self._folder)
        self._nanoseconds = self._checks = 0

    def write(self, steps: int) -> None:
        """Write what an epoch has cost, and all steps so far; epochs count over all trainings."""
        with self._errors(), self._writer.as_default(step=self._epochs):
            tf.summary.scalar(COUNT, steps)
            if self._checks:
                tf.summary.scalar(COST, self._nanoseconds / self._checks / 1000)
            self._writer.flush()
        self._epochs += 1
        self._nanoseconds = self._checks = 0

    def end(self) -> None:
        """Close the log."""
        with self._errors():
            self._writer.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of TensorFlow's files become those of the folder."""
        try:
            yield
        except tf.errors.OpError as error:
            raise FileError(
                f"the log cannot be written: {error.message}: name another folder",
                path=self._folder,
            ) from error
