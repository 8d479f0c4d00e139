"""A stream that a thread reads ahead of its reader, such as one that unpacks what is parsed."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AheadStream"]

_BLOCK_BYTES = 1 << 19
_BLOCKS_AHEAD = 4  # more made nothing faster, and loading a vocabulary takes little memory


class AheadStream(io.RawIOBase):
    """The bytes of a stream, which a thread reads from the first use on until it is stopped.

    Parameters
    ----------
    stream : file
        Nobody else reads it; it stays open.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._blocks = _blocks_of(stream)
        self._unread = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if not self._unread:
            self._unread = next(self._blocks, self._unread)
        got = min(len(target), len(self._unread))
        target[:got] = self._unread[:got]
        self._unread = self._unread[got:]
        return got

    def stop(self) -> None:
        """End the thread: from then on the stream is not touched."""
        self._blocks.close()


def _blocks_of(stream: Any) -> Generator[memoryview, None, None]:
    from concurrent.futures import Future, ThreadPoolExecutor  # brings logging: takes a while

    def block() -> memoryview:
        data, filled = np.empty(_BLOCK_BYTES, np.uint8).data, 0
        while filled < len(data) and (got := stream.readinto(data[filled:])):
            filled += got
        return data[:filled]

    waiting: deque[Future[memoryview]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            while True:
                while len(waiting) < _BLOCKS_AHEAD:
                    waiting.append(pool.submit(block))
                found = waiting.popleft().result()
                if not found:
                    return
                yield found
        finally:
            pool.shutdown(cancel_futures=True)
