"""Matrices in memory that cannot be written: sealed by the kernel, or watched in a mapped file.

A sealed matrix lives in a ``memfd`` whose seals (``F_SEAL_WRITE | SHRINK | GROW | SEAL``) refuse
every write through any mapping or descriptor of any process (fcntl(2), memfd_create(2)). A watched
matrix is a store file mapped ``PROT_READ, MAP_SHARED``; its identity (device, inode, size, mtime,
ctime) tells of ordinary edits.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import weakref
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import (
    FileError,
    FormatError,
    FrozenBytesChanged,
    FrozenError,
    not_pickled,
)
from embedfreeze.files import FileIdentity, Guard
from embedfreeze.threads import spans, thread_count, thread_map

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "BLOCK_BYTES",
    "SEALS",
    "LateDigest",
    "SealedBytes",
    "SealedMatrix",
    "SealedMatrixBuilder",
    "block_digests",
    "combine_digests",
    "seal_array",
    "sha256",
    "told_memory",
]

BLOCK_BYTES = 1 << 20
ALIGNMENT = 64  # TensorFlow aborts the process on memory aligned to less
Guarantee = Literal["sealed", "watched"]
_COPY_BYTES = 16 << 20
_CLOSED = (
    "the descriptor that tells of the seals, or of the file, was closed by other code: close only "
    "what you opened, and load the table again"
)
SEALS = ("F_SEAL_WRITE", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_SEAL")
_SEALS = sum(getattr(fcntl, name, 0) for name in SEALS)


def sha256(data: bytes | memoryview = b"") -> _Hash:
    """As of `hashlib`, which is imported late: it loads OpenSSL, and reading text needs no hash."""
    import hashlib

    return hashlib.sha256(data)


def _hash_spans(size: int, hash_span: Callable[[int, int], bytes], threads: int | None) -> bytes:
    blocks = spans(0, size, BLOCK_BYTES)
    return b"".join(thread_map(lambda span: hash_span(*span), blocks, thread_count(threads)))


def block_digests(matrix: npt.NDArray[Any], threads: int | None = None) -> npt.NDArray[np.uint8]:
    """SHA-256 of each 1 MiB block of the bytes of a C-contiguous matrix, uint8 [blocks, 32]."""
    data = memoryview(matrix.reshape(-1).view(np.uint8))
    joined = _hash_spans(matrix.nbytes, lambda low, high: sha256(data[low:high]).digest(), threads)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)


def combine_digests(blocks: npt.NDArray[np.uint8]) -> str:
    """The digest of a matrix: hexadecimal SHA-256 over the digests of its blocks."""
    return sha256(np.ascontiguousarray(blocks).tobytes()).hexdigest()


class SealedMatrix:
    """A read-only matrix whose bytes can be checked in constant time.

    Made by `SealedMatrixBuilder.seal`, `seal_array` or `SealedMatrix.map_file`.

    Attributes
    ----------
    array : numpy.ndarray
        The matrix [rows, dim], C-contiguous, read-only, in place in the mapping.
    guarantee : {"sealed", "watched"}
        What the kernel promises: sealed memory refuses every write; a watched file can be edited
        by other processes, and an edit is found by the file's identity.
    path : str or None
        The file a watched matrix is mapped from, or the file a sealed copy was made of.
    offset : int
        Where the matrix starts in that file.
    identity : FileIdentity
        Of the file behind the memory, as it was when its bytes were last known to be right.
    check_rest : callable or None
        Of a matrix in a store: compares what lies beside it in the whole file with its digest.
    """

    def __init__(
        self,
        fd: int,
        shape: tuple[int, int],
        dtype: npt.DTypeLike,
        *,
        offset: int = 0,
        guarantee: Guarantee,
        path: str | None = None,
        blocks: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._fd = fd
        self._close = weakref.finalize(self, os.close, fd)
        self.guarantee: Guarantee = guarantee
        self.path = path
        self.offset = offset
        self.check_rest: Callable[[mmap.mmap], None] | None = None
        dtype = np.dtype(dtype)
        nbytes = shape[0] * shape[1] * dtype.itemsize
        if not nbytes:  # nothing can be mapped at the end of a file
            offset = 0
        self._mapping = mmap.mmap(fd, max(nbytes, 1), access=mmap.ACCESS_READ, offset=offset)
        values = np.frombuffer(self._mapping, dtype, shape[0] * shape[1])
        self.array: npt.NDArray[Any] = values.reshape(shape)
        self.identity: FileIdentity = FileIdentity.of(fd)
        if blocks is not None:
            # A copy: who rewrites a watched file as a whole rewrites the digests in it, too.
            self.__dict__["block_digests"] = np.array(blocks)

    @classmethod
    def map_file(
        cls,
        path: str,
        shape: tuple[int, int],
        dtype: npt.DTypeLike,
        *,
        offset: int,
        blocks: npt.NDArray[np.uint8],
        seal: Literal["watch", "copy"] = "watch",
    ) -> SealedMatrix:
        """Map the matrix at `offset` (a multiple of the page size) of a file, or seal a copy.

        Raises
        ------
        FileError
            The file ends before the matrix does.
        FrozenBytesChanged
            The sealed copy does not have the recorded block digests.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        needed = offset + shape[0] * shape[1] * np.dtype(dtype).itemsize
        if os.fstat(fd).st_size < needed:
            os.close(fd)
            raise FileError(f"the matrix ends at byte {needed}, the file before it", path=path)
        watched = cls(
            fd, shape, dtype, offset=offset, guarantee="watched", path=path, blocks=blocks
        )
        if seal == "watch":
            return watched
        with Guard(watched._mapping):
            copy = seal_array(watched.array, path=path)
        copy._compare_blocks(blocks)
        return copy

    @property
    def address(self) -> int:
        """Where the matrix starts in this process's memory."""
        return self.array.__array_interface__["data"][0]  # type: ignore[no-any-return]

    @cached_property
    def block_digests(self) -> npt.NDArray[np.uint8]:
        """SHA-256 of each 1 MiB block, uint8 [blocks, 32]; recorded in a store, else computed."""
        return block_digests(self.array)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the block digests."""
        return combine_digests(self.block_digests)

    @property
    def digest_known(self) -> bool:
        """Whether `digest` is at hand: recorded in a store, or computed before."""
        return "block_digests" in self.__dict__

    def digest_finder(self) -> Callable[[], str]:
        """What gives the digest later; it keeps the memory only if nobody has hashed it yet."""
        if not self.digest_known:
            return LateDigest(self)
        blocks = self.block_digests
        return lambda: combine_digests(blocks)

    def dlpack_alias(self) -> npt.NDArray[Any]:
        """The same memory as an array that NumPy exports through DLPack.

        NumPy refuses to export a read-only array, so this one says it is writable; a store through
        it is a segmentation fault. It keeps the mapping alive.
        """
        if self.address % ALIGNMENT:
            raise FrozenError(f"address {self.address:#x} is not a multiple of {ALIGNMENT}")
        memory = (ctypes.c_uint8 * self.array.nbytes).from_address(self.address)
        memory.mapping = self._mapping  # type: ignore[attr-defined]
        return np.ctypeslib.as_array(memory).view(self.array.dtype).reshape(self.array.shape)

    def check(self) -> None:
        """Check in constant time that the kernel still guards the bytes.

        Raises
        ------
        FrozenBytesChanged
            The seals are gone, or the watched file was edited, or the descriptor that tells of
            them was closed.
        """
        try:
            identity = FileIdentity.of(self._fd)
        except OSError as error:
            raise FrozenBytesChanged(_CLOSED) from error
        if (identity.device, identity.inode) != (self.identity.device, self.identity.inode):
            raise FrozenBytesChanged(_CLOSED)
        if self.guarantee == "sealed":
            if fcntl.fcntl(self._fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise FrozenBytesChanged("the seals of the matrix are not in place")
        elif identity != self.identity:
            self._explain_new_identity(identity)

    def verify(self, deep: bool = False) -> None:
        """`check`, and with `deep` also compare all bytes, by digest.

        Raises
        ------
        FrozenBytesChanged
            Naming the row where the sealed original survives, else the block.
        """
        self.check()
        if not deep:
            return
        if self.guarantee == "sealed":
            self._compare_with_memfd()
        self._compare_blocks(block_digests(self.array))

    def verify_store(self, name: str) -> None:
        """Compare all bytes, of a store also those beside the matrix, with their digests.

        Parameters
        ----------
        name : str
            What messages call it.

        Raises
        ------
        FormatError
            What lies beside the matrix of a store does not have its recorded digest.
        FrozenBytesChanged
            As for `verify`.
        """
        self.check()
        wrong = self._rest_error()
        try:
            if wrong is not None:
                raise wrong
        finally:
            del wrong  # else it would hold this frame, and that the open file
        try:
            self.verify(deep=True)
        except FrozenBytesChanged as error:
            said = f"{name}: {error}"
            raise FrozenBytesChanged(said, row=error.row, block=error.block) from error

    def _rest_error(self) -> FormatError | None:
        """What is wrong beside the matrix; without the frames that would keep the file open."""
        if self.check_rest is None:
            return None
        try:
            self.check_rest(mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ))
        except FormatError as error:
            return error.with_traceback(None)
        return None

    def __reduce__(self) -> NoReturn:
        raise not_pickled("a sealed matrix")

    def _explain_new_identity(self, identity: FileIdentity) -> None:
        """A file was touched: an error if its bytes changed, else its new identity is watched."""
        if identity.size < self.offset + self.array.nbytes:
            raise FrozenBytesChanged(
                f"{self.path or 'the file'} was cut to {identity.size} bytes while in use"
            )
        self._compare_blocks(block_digests(self.array))
        self.identity = identity

    def _compare_with_memfd(self) -> None:
        """The memfd holds what was sealed, whatever is mapped at our address now."""
        mapped = self.array.reshape(-1).view(np.uint8)
        row_bytes = max(self.array.shape[1] * self.array.itemsize, 1)
        for low, high in spans(0, mapped.nbytes, _COPY_BYTES):
            data = os.pread(self._fd, high - low, self.offset + low)
            original = np.frombuffer(data, np.uint8)
            different = np.flatnonzero(original != mapped[low:high])
            if different.size:
                row = (low + int(different[0])) // row_bytes
                raise FrozenBytesChanged(f"row {row} differs from the sealed original", row=row)

    def _compare_blocks(self, found: npt.NDArray[np.uint8]) -> None:
        different = np.flatnonzero((found != self.block_digests).any(axis=1))
        if different.size:
            block = int(different[0])
            raise FrozenBytesChanged(
                f"the bytes {block * BLOCK_BYTES} to {(block + 1) * BLOCK_BYTES} of the matrix "
                f"(block {block}) do not have their recorded digest",
                block=block,
            )


class LateDigest:
    """The digest of a matrix that is hashed when it is first asked for.

    Parameters
    ----------
    matrix : SealedMatrix
        Whose memory is kept.
    """

    def __init__(self, matrix: SealedMatrix) -> None:
        self._matrix = matrix

    def __call__(self) -> str:
        return self._matrix.digest

    @property
    def known(self) -> bool:
        """Whether somebody has hashed it in the meantime."""
        return self._matrix.digest_known


class SealedMatrixBuilder:
    """A writable matrix of zeros that becomes a `SealedMatrix` in place.

    Parameters
    ----------
    shape : tuple of int
        Rows and dim.
    dtype : dtype
        Of the values.

    Attributes
    ----------
    array : numpy.ndarray
        The matrix to fill. It must not be kept: `seal` unmaps it.
    """

    def __init__(self, shape: tuple[int, int], dtype: npt.DTypeLike = np.float32) -> None:
        self._shape = shape
        self._dtype = np.dtype(dtype)
        nbytes = max(shape[0] * shape[1] * self._dtype.itemsize, 1)
        self._guarantee: Guarantee
        self._fd, self._reader, self._guarantee = _anonymous_file()
        self._close = weakref.finalize(self, _close_both, self._fd, self._reader)
        os.ftruncate(self._fd, nbytes)
        self._mapping = mmap.mmap(self._fd, nbytes)
        values = np.frombuffer(self._mapping, self._dtype, shape[0] * shape[1])
        self.array: npt.NDArray[Any] = values.reshape(shape)

    def seal(self, *, path: str | None = None) -> SealedMatrix:
        """Unmap, seal, and map again for reading only.

        Raises
        ------
        FrozenError
            An array over the writable memory is still in use, or this was done before.
        """
        if not self._close.alive:
            raise FrozenError("a builder seals once, received a second call")
        self.__dict__.pop("array", None)  # gone already where an earlier call was refused
        try:
            self._mapping.close()
            if self._guarantee == "sealed":
                fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
        except (BufferError, OSError) as error:  # ours, or that of a forked process
            raise FrozenError(
                "a writable array over this matrix is still in use: delete it, then seal"
            ) from error
        reader = os.dup(self._reader)
        self._close()
        return SealedMatrix(reader, self._shape, self._dtype, guarantee=self._guarantee, path=path)


class SealedBytes:
    """Bytes that cannot be written, of which a part may be a matrix.

    Parameters
    ----------
    blocks : iterable of bytes-like
        The bytes, one block after the other; at least one byte.

    Attributes
    ----------
    buffer : mmap.mmap
        All of them.
    """

    def __init__(self, blocks: Iterable[memoryview]) -> None:
        self._guarantee: Guarantee
        writer, self._fd, self._guarantee = _anonymous_file()
        self._close = weakref.finalize(self, os.close, self._fd)
        with open(writer, "wb") as file:
            file.writelines(blocks)
            file.flush()
            if self._guarantee == "sealed":
                fcntl.fcntl(writer, fcntl.F_ADD_SEALS, _SEALS)
        self.buffer: mmap.mmap = mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)

    def matrix(
        self,
        shape: tuple[int, int],
        dtype: npt.DTypeLike,
        *,
        offset: int,
        blocks: npt.NDArray[np.uint8],
        verify: bool = False,
    ) -> SealedMatrix:
        """The matrix at `offset` (a multiple of the page size), in place.

        Raises
        ------
        FrozenBytesChanged
            With `verify`: it does not have the recorded block digests.
        """
        fd, guarantee = os.dup(self._fd), self._guarantee
        matrix = SealedMatrix(fd, shape, dtype, offset=offset, guarantee=guarantee, blocks=blocks)
        if verify:
            matrix._compare_blocks(block_digests(matrix.array))
        return matrix


def _anonymous_file() -> tuple[int, int, Guarantee]:
    """A file without a name: a descriptor to write, one to read, and what guards it.

    Before Linux 6.7 a sealed read-write descriptor refuses shared maps; one opened read-only anew
    does not.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("embedfreeze", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        return fd, os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), "sealed"
    import tempfile

    fd, name = tempfile.mkstemp(prefix="embedfreeze-")
    reader = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    os.unlink(name)
    return fd, reader, "watched"


def _close_both(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def told_memory(matrix: SealedMatrix) -> str:
    """What holds a matrix, as people read it."""
    return "sealed memory" if matrix.guarantee == "sealed" else "a mapped file that is watched"


def seal_array(array: npt.NDArray[Any], *, path: str | None = None) -> SealedMatrix:
    """A sealed copy of a matrix [rows, dim]."""
    builder = SealedMatrixBuilder((array.shape[0], array.shape[1]), array.dtype)
    builder.array[:] = array
    return builder.seal(path=path)
