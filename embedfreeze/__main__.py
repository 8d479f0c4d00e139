"""The program: `embedfreeze`, and `python -m embedfreeze`."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["run"]


def run() -> int:
    """Run the command that the process was called with.

    Who presses Ctrl-C while Python still imports what a command needs, or cleans up behind it, sees
    no traceback: the signal then ends the process by itself, as it ends a program in C.

    Returns
    -------
    int
        The exit status.
    """
    interrupt = _Interrupt()
    _fill_standard_descriptors()
    from embedfreeze.cli import INTERRUPTED, main
    from embedfreeze.commands.terminal import tell

    try:
        return main(begin=interrupt.expect)
    except (Exception, KeyboardInterrupt):
        if not interrupt.came:
            raise
    finally:
        interrupt.end_quietly()
    tell("embedfreeze: interrupted")
    return INTERRUPTED


class _Interrupt:
    """What Ctrl-C does: it ends the process, and while a command works it is an exception."""

    def __init__(self) -> None:
        self.came = False
        # Else it is ignored, as that of a program in the background.
        self._ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self.end_quietly()

    def end_quietly(self) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def expect(self) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._raise)

    def _raise(self, *_: object) -> None:
        self.came = True  # an import makes another error of it
        raise KeyboardInterrupt


def _fill_standard_descriptors() -> None:
    """No file may get the number of a standard stream that is closed, and what is printed there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stderr is None:  # what progress bars and others write to without asking
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(run())
