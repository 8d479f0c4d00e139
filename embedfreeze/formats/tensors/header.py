"""The header of a safetensors file, which is not trusted: every claim of it is held to the file.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import Source

__all__ = [
    "METADATA",
    "Fail",
    "Tensor",
    "all_tensors",
    "check_cover",
    "header_length",
    "read_header",
    "tensor",
]

METADATA = "__metadata__"
LONGEST_HEADER = 100_000_000  # the limit of the safetensors library
MOST_DIMENSIONS = 64  # of NumPy
WIDTHS = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "BOOL": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1},
}
Fail = Callable[[str], FormatError]  # makes the error of a rule that is broken


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def array(self, buffer: Any, dtype: str | np.dtype[Any]) -> npt.NDArray[Any]:
        return np.frombuffer(buffer, dtype, math.prod(self.shape), self.start).reshape(self.shape)

    def __str__(self) -> str:
        return f"{list(self.shape)} {self.dtype}"


def header_length(source: Source) -> int | None:
    """Bytes of the header of a safetensors file; None if the file begins otherwise."""
    if len(source.head) < 10:
        return None
    (length,) = struct.unpack("<Q", source.head[:8])
    return length if length <= LONGEST_HEADER and source.head[8:9] == b"{" else None


def read_header(buffer: Any, fail: Fail) -> tuple[dict[str, Any], int]:
    """The header of a file whose `header_length` is known, and where the tensors start.

    Raises
    ------
    FormatError
        It reaches beyond the file, or is no JSON object.
    """
    (length,) = struct.unpack("<Q", buffer[:8])
    if 8 + length > len(buffer):
        raise fail(
            f"the header must lie in the file, received one of {length} bytes in a file of "
            f"{len(buffer)}"
        )
    try:
        header = json.loads(
            bytes(buffer[8 : 8 + length]), object_pairs_hook=_once, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise fail(f"the header must be JSON ({error})") from error
    if not isinstance(header, dict):
        raise fail("the header must be a JSON object")
    return header, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; readers disagree on what a key means that stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r} stands twice")
    return found


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def check_cover(header: dict[str, Any], base: int, size: int, fail: Fail) -> None:
    """Tensors lie one behind the other to the end of the file, as safetensors asks for.

    Raises
    ------
    FormatError
        They do not.
    """
    places: list[tuple[int, int, str]] = []
    try:
        for name, entry in header.items():
            if name != METADATA:
                start, stop = map(int, entry["data_offsets"])
                places.append((start, stop, name))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise fail("the header must describe each tensor") from error
    end = 0
    for start, stop, name in [*sorted(places), (size - base, size - base, "the end of the file")]:
        if start != end:
            raise fail(
                f"tensors must lie one behind the other, received {name} at byte {base + start} "
                f"where the one before it ends at {base + end}"
            )
        end = stop


def tensor(
    header: dict[str, Any], name: str, base: int, size: int, fail: Fail, code: str | None = None
) -> Tensor:
    """Where a tensor lies in a file of `size` bytes.

    Raises
    ------
    FormatError
        The header does not say so, or its bytes are not those of its shape.
    """
    entry: Any = header.get(name)
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        start, stop = (base + int(offset) for offset in entry["data_offsets"])
        width = WIDTHS[dtype]
        # First of all: a product of anything else can be a text or a list as long as memory.
        fits = len(shape) <= MOST_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
        fits = fits and base <= start <= stop <= size and stop - start == width * math.prod(shape)
        fits = fits and code in (None, dtype) and (start - base) % width == 0
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise fail(f"the header must describe the tensor {name}") from error
    if not fits:
        raise fail(f"the tensor {name} {list(shape)!s:.200} does not fit its bytes in the file")
    return Tensor(dtype, shape, start, stop)


def all_tensors(buffer: Any, fail: Fail) -> dict[str, Tensor]:
    """The tensors of a file by name; those of types that are not known here are left out.

    Raises
    ------
    FormatError
        The header is damaged, or does not fit the file.
    """
    header, base = read_header(buffer, fail)
    check_cover(header, base, len(buffer), fail)
    return {
        name: tensor(header, name, base, len(buffer), fail)
        for name, entry in header.items()
        if name != METADATA and str(entry.get("dtype")) in WIDTHS
    }
