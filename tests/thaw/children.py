"""Attempts in a forked child: it may die, and what it does to its memory stays there."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
from collections.abc import Callable

import embedfreeze as ef
from embedfreeze.errors import FrozenBytesChanged
from thaw.trial import Died, Trial

SECONDS, TRIES = 10, 5
FINE, CHANGED, CAUGHT, RAISED = range(4)


def in_child(trial: Trial, act: Callable[[], object]) -> None:
    """Act in a child; raise here what came of it there.

    A child has one thread of this process, and a lock that another one held stays locked in it. A
    child that waits for one is ended by its alarm, and the next is tried.
    """
    for _ in range(TRIES):
        status = _forked(trial, act)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGALRM:
            break
    if os.WIFSIGNALED(status):
        raise Died(signal.Signals(os.WTERMSIG(status)).name)
    code = os.WEXITSTATUS(status)
    if code == CAUGHT:
        raise FrozenBytesChanged("in the child; load the table again")
    if code == RAISED:
        raise OSError("the child could not do it")
    trial.subject.differs = code == CHANGED


def _forked(trial: Trial, act: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        code = RAISED
        try:
            code = _watched(trial, act)
        finally:  # whatever is raised: this process is not to go on as the tests
            os._exit(code)
    return os.waitpid(child, 0)[1]


def _watched(trial: Trial, act: Callable[[], object]) -> int:
    """What an attempt did in this process, which has no threads but this one."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    try:
        act()
        if trial.subject.ours:
            ef.verify(trial.model)
        return CHANGED if trial.subject.is_changed() else FINE
    except FrozenBytesChanged:
        return CAUGHT
