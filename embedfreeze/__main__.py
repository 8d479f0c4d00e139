"""The program: `embedfreeze`, and `python -m embedfreeze`."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["run"]


def run() -> int:
    """Run the command that the process was called with; its exit status.

    Who presses Ctrl-C while Python still imports what a command needs, or cleans up behind it, sees
    no traceback: the signal then ends the process by itself, as it ends a program in C.

    Returns
    -------
    int
        The exit status.
    """
    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if quiet:  # else it is ignored, as that of a program in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _fill_standard_descriptors()
    from embedfreeze.cli import main

    try:
        if quiet:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main()
    except KeyboardInterrupt:  # in the moment before or behind `main`
        return 128 + signal.SIGINT
    finally:
        if quiet:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _fill_standard_descriptors() -> None:
    """No file may get the number of a standard stream that is closed, and what is printed there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(run())
