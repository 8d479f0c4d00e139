"""Sealed memory refuses every write; watched files tell of edits; digests agree with hashlib."""

import ctypes
import errno
import gc
import hashlib
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedfreeze.errors import FileError, FrozenBytesChanged, FrozenError
from embedfreeze.sealed import (
    BLOCK_BYTES,
    SealedMatrix,
    SealedMatrixBuilder,
    block_digests,
    combine_digests,
    seal_array,
)

PAGE = mmap.PAGESIZE
MAP_FIXED = 0x10
TICK = 0.02  # seconds: the clock of a file system may stand still for as long

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def matrix_of(rows: int, dim: int, dtype: str = "float32") -> np.ndarray:
    values = np.random.default_rng(rows * 1000 + dim).integers(0, 255, (rows, dim))
    return values.astype(dtype)


def reference_digests(data: bytes) -> list[bytes]:
    blocks = [data[i : i + 2**20] for i in range(0, len(data), 2**20)]
    return [hashlib.sha256(block).digest() for block in blocks]


def descriptors() -> set[int]:
    """Open descriptors, without the one that lists them."""
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    return {fd for fd in listed if os.path.exists(f"/proc/self/fd/{fd}") or _is_open(fd)}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture
def no_leak() -> Iterator[None]:
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    assert descriptors() == before


# ---- what a matrix is ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint16", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1000, 300), (7, 1), (1, 70_001)])
def test_a_sealed_copy(shape: tuple[int, int], dtype: str, no_leak: None) -> None:
    original = matrix_of(*shape, dtype)
    sealed = seal_array(original, path="somewhere")
    assert sealed.array.dtype == original.dtype
    assert sealed.array.shape == shape
    assert sealed.array.flags.c_contiguous
    assert sealed.array.tobytes() == original.tobytes()
    assert sealed.guarantee == "sealed"
    assert (sealed.path, sealed.offset) == ("somewhere", 0)
    assert sealed.address == sealed.array.ctypes.data
    assert sealed.address % 64 == 0
    sealed.check()
    sealed.verify(deep=True)


def test_any_layout_is_copied() -> None:
    original = matrix_of(50, 40)
    for array in (np.asfortranarray(original), original[::-2, 1::3], original.astype(">f4")):
        sealed = seal_array(array)
        assert np.array_equal(sealed.array, array)
        assert sealed.array.flags.c_contiguous
        sealed.verify(deep=True)


@pytest.mark.parametrize("shape", [(0, 7), (0, 1), (3, 0)])
def test_an_empty_matrix(shape: tuple[int, int], no_leak: None) -> None:
    sealed = seal_array(np.empty(shape, np.float32))
    assert sealed.array.shape == shape
    assert sealed.block_digests.shape == (0, 32)
    assert sealed.digest == hashlib.sha256(b"").hexdigest()
    sealed.verify(deep=True)
    assert sealed.dlpack_alias().shape == shape


@pytest.mark.parametrize("shape", [(0, 7), (3, 0)])
@pytest.mark.parametrize("behind", [b"", b"tokens"])
def test_an_empty_matrix_in_a_file(shape: tuple[int, int], behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"\0" * PAGE + behind)
    watched = SealedMatrix.map_file(
        str(path), shape, np.float32, offset=PAGE, blocks=np.empty((0, 32), np.uint8)
    )
    assert watched.array.shape == shape
    watched.verify(deep=True)


@pytest.mark.parametrize("nbytes", [1, 2**20 - 4, 2**20, 2**20 + 4, 3 * 2**20, 3 * 2**20 + 100])
def test_digests(nbytes: int) -> None:
    data = np.random.default_rng(nbytes).bytes(nbytes)
    blocks = reference_digests(data)
    matrix = np.frombuffer(data, np.int8).reshape(1, -1)
    sealed = seal_array(matrix)
    for found in (block_digests(matrix), block_digests(matrix, 3), sealed.block_digests):
        assert [row.tobytes() for row in found] == blocks
        assert found.dtype == np.uint8
    assert sealed.digest == hashlib.sha256(b"".join(blocks)).hexdigest()
    assert combine_digests(sealed.block_digests) == sealed.digest
    assert BLOCK_BYTES == 2**20


def test_shape_and_dtype_do_not_change_a_digest_but_bytes_do() -> None:
    matrix = matrix_of(64, 32)
    digest = seal_array(matrix).digest
    assert seal_array(matrix.reshape(32, 64)).digest == digest
    assert seal_array(matrix.view(np.int32)).digest == digest
    negative_zero = matrix.copy()
    negative_zero[matrix == 0] = -0.0
    assert (matrix == 0).any()
    assert np.array_equal(negative_zero, matrix)
    assert seal_array(negative_zero).digest != digest


# ---- every way to write --------------------------------------------------------------------------


@pytest.fixture
def sealed() -> Iterator[SealedMatrix]:
    original = matrix_of(3000, 100)  # more than one block
    matrix = seal_array(original)
    address, digest = matrix.address, matrix.digest
    yield matrix
    assert matrix.address == address
    assert matrix.array.tobytes() == original.tobytes()
    assert digest == combine_digests(block_digests(original))
    matrix.verify(deep=True)


def refused(*codes: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, check=lambda error: error.errno in codes)


def test_no_write_through_numpy(sealed: SealedMatrix) -> None:
    with pytest.raises(ValueError, match="read-only"):
        sealed.array[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        sealed.array.setflags(write=True)
    with pytest.raises(TypeError):
        memoryview(sealed.array)[0, 0] = 1.0
    with pytest.raises(TypeError):
        ctypes.c_char.from_buffer(sealed.array)


def test_no_write_through_the_descriptor(sealed: SealedMatrix) -> None:
    fd = sealed._fd
    for write in (lambda: os.write(fd, b"x"), lambda: os.pwrite(fd, b"x", 0)):
        with refused(errno.EBADF, errno.EPERM):
            write()
    for size in (0, 10, 10**7):
        with refused(errno.EINVAL, errno.EPERM, errno.EBADF):
            os.ftruncate(fd, size)
    with refused(errno.EACCES, errno.EPERM):
        mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def test_no_write_through_a_descriptor_opened_again(sealed: SealedMatrix) -> None:
    path = f"/proc/self/fd/{sealed._fd}"
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        with refused(errno.EPERM, errno.EACCES):
            _write_in_every_way(os.open(path, flags))
    with refused(errno.EPERM, errno.EACCES):
        os.truncate(path, 0)


def _write_in_every_way(fd: int) -> None:
    """Raise the error that every way ends in; return if one of them writes."""
    ways = [
        lambda: os.write(fd, b"x"),
        lambda: os.pwrite(fd, b"x", 5),
        lambda: os.ftruncate(fd, 0),
        lambda: os.ftruncate(fd, 2**24),
        lambda: os.posix_fallocate(fd, 0, 2**24),
        lambda: mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
        lambda: mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_WRITE),
    ]
    failures = []
    try:
        for way in ways:
            try:
                way()
            except OSError as error:
                failures.append(error)
        if _libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(PAGE)) == 0:  # punches a hole
            return
    finally:
        os.close(fd)
    if len(failures) == len(ways):
        raise failures[0]


def test_a_private_writable_map_is_a_copy(sealed: SealedMatrix) -> None:
    """Nobody can forbid a copy; what matters is that the matrix does not see it."""
    copy = mmap.mmap(sealed._fd, PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    copy[:4] = b"\xff" * 4
    sealed.verify(deep=True)


def test_no_permission_to_write_for_the_mapping(sealed: SealedMatrix) -> None:
    for protection in (mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE):
        assert _libc.mprotect(sealed.address, PAGE, protection) == -1
        assert ctypes.get_errno() == errno.EACCES


def test_seals_cannot_be_taken_off(sealed: SealedMatrix) -> None:
    import fcntl

    seals = fcntl.fcntl(sealed._fd, fcntl.F_GET_SEALS)
    wanted = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    assert seals & wanted == wanted
    writable = os.open(f"/proc/self/fd/{sealed._fd}", os.O_RDWR)
    try:
        with refused(errno.EPERM):
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, 0)
    finally:
        os.close(writable)


OTHER_PROCESS = """
import mmap, os, sys
path = sys.argv[1]
ways = {
    "read": lambda: os.pread(os.open(path, os.O_RDONLY), 4, 0),
    "write": lambda: os.pwrite(os.open(path, os.O_RDWR), b"zzzz", 0),
    "truncate": lambda: os.truncate(path, 0),
    "grow": lambda: os.truncate(path, 2**24),
    "map": lambda: mmap.mmap(os.open(path, os.O_RDWR), 4096).__setitem__(0, 1),
}
for name, way in ways.items():
    try:
        print(name, way())
    except OSError as error:
        print(name, error.errno)
"""


def test_no_write_from_another_process(sealed: SealedMatrix) -> None:
    path = f"/proc/{os.getpid()}/fd/{sealed._fd}"
    ran = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, path], capture_output=True, text=True, check=True
    )
    answers = dict(line.split(" ", 1) for line in ran.stdout.splitlines())
    assert answers.pop("read") == str(sealed.array.tobytes()[:4])
    assert answers == dict.fromkeys(["write", "truncate", "grow", "map"], str(errno.EPERM))


STORE_THROUGH = """
import ctypes, sys
import numpy as np
from embedfreeze.sealed import seal_array
sealed = seal_array(np.ones((4, 4), np.float32))
alias = sealed.dlpack_alias()
print("stores", flush=True)
if sys.argv[1] == "alias":
    alias[0, 0] = 2
else:
    ctypes.memset(sealed.address, 1, 4)
print("stored", flush=True)
"""


@pytest.mark.parametrize("way", ["alias", "memset"])
def test_a_store_through_the_address_ends_the_process(way: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STORE_THROUGH, way], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "stores\n"
    assert ran.returncode == -11


# ---- the builder ---------------------------------------------------------------------------------


def test_a_builder_holds_zeros_until_filled(no_leak: None) -> None:
    builder = SealedMatrixBuilder((5, 3))
    assert builder.array.dtype == np.float32
    assert builder.array.tobytes() == bytes(60)
    builder.array[2] = [1, 2, 3]
    sealed = builder.seal()
    assert sealed.array.tolist() == [[0] * 3, [0] * 3, [1, 2, 3], [0] * 3, [0] * 3]


@pytest.mark.parametrize("view", ["whole", "row", "memoryview"])
def test_no_seal_while_an_array_is_alive(view: str, no_leak: None) -> None:
    """The remedy of the message works: without the array, the builder seals."""
    builder = SealedMatrixBuilder((5, 3))
    builder.array[:] = 7
    kept = {"whole": lambda a: a, "row": lambda a: a[2], "memoryview": memoryview}[view](
        builder.array
    )
    for _ in range(2):
        with pytest.raises(FrozenError, match="still in use: delete it, then seal"):
            builder.seal()
    del kept
    sealed = builder.seal()
    assert (sealed.array == 7).all()
    sealed.verify(deep=True)


def test_no_seal_while_somebody_else_can_write(no_leak: None) -> None:
    """As a forked process can, which has the writable map of its parent."""
    builder = SealedMatrixBuilder((5, 3))
    other = mmap.mmap(builder._fd, 60)
    with pytest.raises(FrozenError, match="still in use"):
        builder.seal()
    other[:4] = b"\0\0\x80\x3f"
    other.close()
    assert builder.seal().array[0].tolist() == [1, 0, 0]


def test_a_builder_seals_once(no_leak: None) -> None:
    builder = SealedMatrixBuilder((5, 3))
    sealed = builder.seal()
    with pytest.raises(FrozenError, match="seals once"):
        builder.seal()
    sealed.verify(deep=True)


def test_a_builder_that_is_dropped_leaves_nothing(no_leak: None) -> None:
    SealedMatrixBuilder((5, 3)).array[0] = 1


# ---- checks --------------------------------------------------------------------------------------


def overlay(sealed: SealedMatrix, data: bytes, offset: int) -> None:
    """Map other memory over a part of a matrix, which no seal can prevent."""
    address = sealed.address + offset
    assert offset % PAGE == 0
    whole_pages = -(-len(data) // PAGE) * PAGE
    old = ctypes.string_at(address, whole_pages)
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    assert _libc.mmap(address, whole_pages, protection, flags, -1, 0) == address
    ctypes.memmove(address, data + old[len(data) :], whole_pages)


@pytest.mark.parametrize("row", [0, 10, 2999, 49_999])
def test_deep_finds_other_memory_at_our_address(row: int) -> None:
    """48 MB, so that also what lies behind the first read of the comparison is found."""
    dim = 250
    original = matrix_of(50_000, dim)
    sealed = seal_array(original)
    digest = sealed.digest
    page = row * dim * 4 // PAGE * PAGE
    changed = original.copy()
    changed[row, 3] += 1
    overlay(sealed, changed.tobytes()[page : page + 2 * PAGE], page)
    assert (sealed.array[row] != original[row]).any()
    sealed.verify()  # address and seals are as they were
    with pytest.raises(FrozenBytesChanged, match=f"row {row} differs") as caught:
        sealed.verify(deep=True)
    assert caught.value.row == row
    assert sealed.digest == digest


def test_deep_finds_it_also_where_no_digest_was_asked_for_before() -> None:
    sealed = seal_array(matrix_of(3000, 100))
    overlay(sealed, b"\x01" * PAGE, 0)
    with pytest.raises(FrozenBytesChanged, match="row 0 differs"):
        sealed.verify(deep=True)


def test_equal_memory_at_our_address_is_no_change() -> None:
    original = matrix_of(3000, 100)
    sealed = seal_array(original)
    overlay(sealed, original.tobytes()[:PAGE], 0)
    sealed.verify(deep=True)


def test_a_descriptor_that_is_not_ours_any_more(tmp_path: Path) -> None:
    """The seals are asked of the descriptor that was sealed."""
    sealed = seal_array(matrix_of(30, 10))
    memfd = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.dup2(memfd, sealed._fd)
    os.close(memfd)
    with pytest.raises(FrozenBytesChanged, match="seals"):
        sealed.check()


CHECK_READS_NOTHING = """
import ctypes, mmap, sys
import numpy as np
from embedfreeze.sealed import SealedMatrix, block_digests, seal_array
matrix = np.ones((3000, 100), np.float32)
with open(sys.argv[1], "wb") as file:
    file.write(matrix.tobytes())
watched = SealedMatrix.map_file(
    sys.argv[1], matrix.shape, matrix.dtype, offset=0, blocks=block_digests(matrix)
)
mprotect = ctypes.CDLL(None).mprotect
mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
for frozen in (seal_array(matrix), watched):
    assert mprotect(frozen.address, matrix.nbytes, 0) == 0
    frozen.check()
    frozen.verify()
    print(frozen.guarantee, frozen.address > 0, flush=True)
frozen.verify(deep=True)
print("deep reads nothing either", flush=True)
"""


def test_a_check_reads_no_byte(tmp_path: Path) -> None:
    """So it costs the same whatever the size: nothing may be read, and still it succeeds."""
    ran = subprocess.run(
        [sys.executable, "-c", CHECK_READS_NOTHING, str(tmp_path / "table")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines() == ["sealed True", "watched True"], ran.stderr
    assert ran.returncode == -11


def test_alias_shares_memory_and_keeps_it(no_leak: None) -> None:
    original = matrix_of(500, 30)
    sealed = seal_array(original)
    address = sealed.address
    alias = sealed.dlpack_alias()
    assert alias.ctypes.data == address
    assert (alias.shape, alias.dtype) == (original.shape, original.dtype)
    from_dlpack = np.from_dlpack(alias)
    assert from_dlpack.ctypes.data == address
    del sealed, alias
    gc.collect()
    other = seal_array(matrix_of(500, 31))  # would take the address if it were free
    assert other.address != address
    assert from_dlpack.tobytes() == original.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint16"])
def test_alias_of_other_types(dtype: str) -> None:
    original = matrix_of(10, 3, dtype)
    alias = seal_array(original).dlpack_alias()
    assert alias.dtype == original.dtype
    assert alias.tobytes() == original.tobytes()


def test_the_array_keeps_the_mapping(no_leak: None) -> None:
    original = matrix_of(500, 30)
    array = seal_array(original).array
    gc.collect()
    seal_array(matrix_of(500, 31))
    assert array.tobytes() == original.tobytes()


# ---- watched files -------------------------------------------------------------------------------


class Table:
    """A matrix in a file, behind a page and before other bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.matrix = matrix_of(6000, 100)  # 2.3 MB: blocks 0, 1 and 2
        path.write_bytes(b"h" * PAGE + self.matrix.tobytes() + b"tokens")
        time.sleep(TICK)

    def map(self, seal: str = "watch") -> SealedMatrix:
        return SealedMatrix.map_file(
            str(self.path),
            self.matrix.shape,
            self.matrix.dtype,
            offset=PAGE,
            blocks=block_digests(self.matrix),
            seal=seal,  # type: ignore[arg-type]
        )

    def edit(self, at: int, data: bytes) -> None:
        with open(self.path, "r+b") as file:
            file.seek(PAGE + at)
            file.write(data)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table.store")


def test_a_watched_file(table: Table, no_leak: None) -> None:
    watched = table.map()
    assert watched.guarantee == "watched"
    assert (watched.path, watched.offset) == (str(table.path), PAGE)
    assert watched.array.tobytes() == table.matrix.tobytes()
    assert watched.address % PAGE == 0
    with pytest.raises(ValueError, match="read-only"):
        watched.array[0, 0] = 1
    assert _libc.mprotect(watched.address, PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == -1
    with refused(errno.EBADF):
        os.write(watched._fd, b"x")
    watched.verify(deep=True)


@pytest.mark.parametrize(("at", "block"), [(0, 0), (2**20 - 1, 0), (2**20, 1), (2_399_999, 2)])
def test_an_edit_is_found_with_its_block(table: Table, at: int, block: int) -> None:
    watched = table.map()
    table.edit(at, bytes([table.matrix.tobytes()[at] ^ 1]))
    for check in (watched.check, watched.verify, lambda: watched.verify(deep=True)):
        with pytest.raises(FrozenBytesChanged, match=rf"\(block {block}\)") as caught:
            check()
        assert caught.value.block == block


def test_an_edit_that_hides_its_time_is_found(table: Table) -> None:
    watched = table.map()
    times = os.stat(table.path)
    table.edit(5, b"\xff")
    os.utime(table.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(FrozenBytesChanged, match="block 0"):
        watched.check()


def test_an_edit_that_is_undone_is_no_change(table: Table) -> None:
    watched = table.map()
    table.edit(0, b"\xff")
    table.edit(0, table.matrix.tobytes()[:1])
    watched.check()
    watched.verify(deep=True)


def test_touch_and_edits_beside_the_matrix_are_no_change(table: Table) -> None:
    watched = table.map()
    os.utime(table.path)
    watched.check()
    assert watched.identity.mtime_ns == os.stat(table.path).st_mtime_ns  # hashed once, not again
    table.edit(-3, b"abc")
    table.edit(table.matrix.nbytes, b"TOKENS and more")
    time.sleep(TICK)
    watched.check()
    os.chmod(table.path, 0o600)
    watched.check()
    table.edit(7, b"\xff")
    with pytest.raises(FrozenBytesChanged, match="block 0"):
        watched.check()


@pytest.mark.parametrize("size", [0, PAGE, 2**20, PAGE + 2_399_999])
def test_a_cut_file_is_reported_before_it_is_read(table: Table, size: int) -> None:
    """Reading what was cut off would end the process (SIGBUS)."""
    watched = table.map()
    os.truncate(table.path, size)
    for check in (watched.check, lambda: watched.verify(deep=True)):
        with pytest.raises(FrozenBytesChanged, match=f"cut to {size} bytes while in use") as caught:
            check()
        assert str(table.path) in str(caught.value)


def test_a_file_cut_behind_the_matrix_is_no_change(table: Table) -> None:
    watched = table.map()
    os.truncate(table.path, PAGE + table.matrix.nbytes)
    watched.verify(deep=True)


def test_a_replaced_or_removed_file_is_no_change(table: Table, tmp_path: Path) -> None:
    watched = table.map()
    other = tmp_path / "other"
    other.write_bytes(b"z" * os.stat(table.path).st_size)
    os.replace(other, table.path)
    watched.verify(deep=True)
    assert watched.array.tobytes() == table.matrix.tobytes()
    os.unlink(table.path)
    watched.verify(deep=True)
    assert watched.array.tobytes() == table.matrix.tobytes()


def test_a_sealed_copy_of_a_file(table: Table, no_leak: None) -> None:
    copy = table.map("copy")
    assert copy.guarantee == "sealed"
    assert copy.path == str(table.path)
    table.edit(0, b"\xff" * 100)
    os.truncate(table.path, 0)
    copy.verify(deep=True)
    assert copy.array.tobytes() == table.matrix.tobytes()


@pytest.mark.parametrize("at", [0, 1_100_000, 2_399_999])
def test_a_sealed_copy_of_a_spoiled_file_is_refused(table: Table, at: int, no_leak: None) -> None:
    table.edit(at, bytes([table.matrix.tobytes()[at] ^ 128]))
    with pytest.raises(FrozenBytesChanged, match=f"block {at // 2**20}"):
        table.map("copy")


def test_a_watched_file_that_was_spoiled_before_is_found_by_deep(table: Table) -> None:
    table.edit(1_100_000, b"\xff\xfe")
    watched = table.map()
    watched.verify()
    with pytest.raises(FrozenBytesChanged, match="block 1"):
        watched.verify(deep=True)


@pytest.mark.parametrize("seal", ["watch", "copy"])
@pytest.mark.parametrize("cut", [1, 5000, 2_399_999])
def test_a_short_file_is_refused(table: Table, cut: int, seal: str, no_leak: None) -> None:
    end = PAGE + table.matrix.nbytes
    os.truncate(table.path, end - cut)
    with pytest.raises(FileError, match=f"ends at byte {end}") as caught:
        table.map(seal)
    assert caught.value.path == str(table.path)


def test_a_file_that_is_not_there(tmp_path: Path, no_leak: None) -> None:
    blocks = block_digests(np.ones((1, 1)))
    with pytest.raises(FileNotFoundError):
        SealedMatrix.map_file(str(tmp_path / "none"), (1, 1), np.float64, offset=0, blocks=blocks)


def test_descriptors_of_many_matrices(table: Table, no_leak: None) -> None:
    before = len(descriptors())
    kept = [table.map() for _ in range(20)] + [seal_array(matrix_of(3, 3)) for _ in range(20)]
    assert len(descriptors()) - before <= 2 * len(kept)
    aliases = [matrix.dlpack_alias() for matrix in kept]
    del kept
    gc.collect()
    assert len(descriptors()) - before <= len(aliases)
