"""Two workers of a `MultiWorkerMirroredStrategy` on this machine, each a process of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def free_addresses(count: int) -> list[str]:
    """Ports that were free a moment ago, all of them at once."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def run_workers(program: Path, arguments: Sequence[Sequence[object]]) -> list[str]:
    """What each worker prints; one for each list of arguments. A failure fails the test."""
    cluster = {"worker": free_addresses(len(arguments))}
    started = [
        _start(program, {"cluster": cluster, "task": {"type": "worker", "index": index}}, given)
        for index, given in enumerate(arguments)
    ]
    printed = []
    try:
        for worker in started:
            output, errors = worker.communicate(timeout=240)
            assert worker.returncode == 0, errors[-5000:]
            printed.append(output)
    finally:
        for worker in started:
            worker.kill()
            worker.wait()
    return printed


def _start(
    program: Path, config: dict[str, object], arguments: Sequence[object]
) -> subprocess.Popen[str]:
    # Without GPUs: two processes would contend for all of their memory.
    env = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, str(program), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
