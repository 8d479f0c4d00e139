"""Targets of several files, and folders of them: they appear whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest
from samples import put

from embedfreeze.errors import FileError
from embedfreeze.files import atomic_files, atomic_folder, hidden, outputfolder


class Trouble(Exception):
    pass


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def several(target: Path, data: bytes, *beside: str, overwrite: bool = False) -> None:
    with atomic_files(target, overwrite=overwrite) as output:
        for name in beside:
            output.beside(name).write(data + name.encode())
            assert output.beside(name) is output.beside(name)
        output.file.write(data)


def folder(target: Path, data: bytes, *names: str, overwrite: bool = False) -> None:
    with atomic_folder(target, overwrite=overwrite) as output:
        for name in names:
            output.beside(name).write(data + name.encode())


@pytest.fixture(params=["unnamed", "hidden"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, also as on a file system without files without a name."""
    if request.param == "hidden":
        real = os.open

        def refusing(path: str, flags: int, *rest: object, **more: object) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", refusing)
    return tmp_path


# ---- several files -------------------------------------------------------------------------------


def test_files_beside_the_target(place: Path) -> None:
    several(place / "t", b"1", "a", "b")
    assert contents(place) == {"a": b"1a", "b": b"1b", "t": b"1"}
    several(place / "t", b"2", "a", overwrite=True)
    assert contents(place) == {"a": b"2a", "b": b"1b", "t": b"2"}


def test_the_target_appears_last_when_all_is_on_the_disk(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    real, sync = os.link, os.fsync

    def link(source: str, name: str, **how: int) -> None:
        real(source, name, **how)
        seen.append(name)

    def fsync(fd: int) -> None:
        sync(fd)
        seen.append(stat.S_IFMT(os.fstat(fd).st_mode))

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "fsync", fsync)
    several(place / "t", b"1", "b", "a")
    in_folder = stat.S_IFDIR
    assert seen == [stat.S_IFREG] * 3 + ["b", in_folder, "a", in_folder, "t", in_folder]


def test_an_error_leaves_no_file(place: Path) -> None:
    def half() -> None:
        with atomic_files(place / "t") as output:
            output.beside("a").write(b"half")
            raise Trouble

    with pytest.raises(Trouble):
        half()
    assert os.listdir(place) == []


def test_an_equal_file_beside_stays(place: Path) -> None:
    several(place / "t", b"1", "a")
    (place / "t").unlink()
    before = (place / "a").stat()
    several(place / "t", b"1", "a")
    assert os.path.samestat((place / "a").stat(), before)
    assert contents(place) == {"a": b"1a", "t": b"1"}


@pytest.mark.parametrize("data", [b"1A", b"1", b"1aa", b""])
def test_another_file_beside_is_not_replaced_unasked(data: bytes, place: Path) -> None:
    put(place / "b", data)
    with pytest.raises(FileError, match="exists: pass overwrite=True") as caught:
        several(place / "t", b"1", "a", "b")
    assert caught.value.path == str(place / "b")
    assert contents(place) == {"b": data}
    several(place / "t", b"1", "a", "b", overwrite=True)
    assert contents(place) == {"a": b"1a", "b": b"1b", "t": b"1"}


def test_what_appears_meanwhile_is_not_replaced(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file beside the target, nor the target; and then none of ours is left."""
    real = hidden.publish
    for late in ("b", "t"):

        def racing(file: object, name: str, *rest: int, late: str = late, **how: bool) -> None:
            if name == late:
                put(place / late, b"theirs")
            real(file, name, *rest, **how)  # type: ignore[arg-type]

        monkeypatch.setattr("embedfreeze.files.output.publish", racing)
        with pytest.raises(FileError, match="exists: pass overwrite=True") as caught:
            several(place / "t", b"1", "a", "b")
        assert caught.value.path == str(place / late)
        assert contents(place) == {late: b"theirs"}
        (place / late).unlink()


def test_links_and_folders_beside(place: Path) -> None:
    (place / "a").symlink_to(place / "nowhere")
    with pytest.raises(FileError, match="exists"):
        several(place / "t", b"1", "a")
    assert os.listdir(place) == ["a"]
    several(place / "t", b"1", "a", overwrite=True)
    assert contents(place) == {"a": b"1a", "t": b"1"}
    (place / "b").mkdir()
    for overwrite in (False, True):
        with pytest.raises(FileError, match="is no file, and must stand beside the target"):
            several(place / "t2", b"2", "b", overwrite=overwrite)
    with pytest.raises(FileError, match="stands beside the target: name another"):
        several(place / "t2", b"2", "t2")
    assert sorted(os.listdir(place)) == ["a", "b", "t"]


# ---- folders -------------------------------------------------------------------------------------


def test_a_folder_of_files(place: Path) -> None:
    folder(place / "f", b"1", "a", "b")
    assert os.listdir(place) == ["f"]
    assert contents(place / "f") == {"a": b"1a", "b": b"1b"}
    folder(Path(f"{place}/g/"), b"1")
    assert contents(place / "g") == {}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_the_rights_of_a_folder_follow_the_umask(umask: int, place: Path) -> None:
    before = os.umask(umask)
    try:
        folder(place / "f", b"1", "a")
        folder(place / "f", b"1", "a", overwrite=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / "f").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((place / "f" / "a").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [Trouble, KeyboardInterrupt, OSError])
def test_an_error_leaves_no_folder(error: type[BaseException], place: Path) -> None:
    def half() -> None:
        with atomic_folder(place / "f", overwrite=True) as output:
            output.beside("a").write(b"half")
            raise error

    with pytest.raises(FileError if error is OSError else error):
        half()
    assert os.listdir(place) == []
    folder(place / "f", b"1", "a")
    with pytest.raises(FileError if error is OSError else error):
        half()
    assert os.listdir(place) == ["f"]
    assert contents(place / "f") == {"a": b"1a"}


def test_a_folder_has_no_file_of_its_own(place: Path) -> None:
    with pytest.raises(TypeError, match="no file of its own"), atomic_folder(place / "f") as output:
        output.file.write(b"1")
    for name in ("../a", "a/b", "/a"):
        with pytest.raises(ValueError, match="without a folder"):
            folder(place / "f", b"1", name)
    assert os.listdir(place) == []


def test_an_empty_folder_is_replaced(place: Path) -> None:
    (place / "f").mkdir()
    folder(place / "f", b"1", "a")
    assert contents(place / "f") == {"a": b"1a"}


@pytest.mark.parametrize("exchange", ["one step", "old kernel", "old library"])
def test_only_what_is_written_anew_is_replaced(
    exchange: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if exchange == "old kernel":
        monkeypatch.setattr(outputfolder, "_RENAME_EXCHANGE", 1 << 20)
    elif exchange == "old library":
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    folder(place / "f", b"1", "a", "b")
    with pytest.raises(FileError, match=r"exists: pass overwrite=True \(--force\)"):
        folder(place / "f", b"2", "a", "b")
    folder(place / "f", b"2", "a", "b", "c", overwrite=True)
    assert contents(place / "f") == {"a": b"2a", "b": b"2b", "c": b"2c"}
    for name in ("a", "ab"):
        with pytest.raises(FileError, match="holds nothing but files that are written anew, rec"):
            folder(place / "f", b"3", *name, overwrite=True)
    (place / "f" / "c").unlink()
    (place / "f" / "c").mkdir()
    with pytest.raises(FileError, match=r"received one with 'c': name another") as caught:
        folder(place / "f", b"3", "a", "b", "c", overwrite=True)
    assert caught.value.path == str(place / "f")
    assert os.listdir(place) == ["f"]
    assert (place / "f" / "a").read_bytes() == b"2a"


def test_a_file_that_comes_into_a_folder_meanwhile_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(place / "f", b"1", "a")
    real, calls = outputfolder._exchange, []

    def late(*names: str) -> None:
        if not calls:
            put(place / "f" / "late", b"theirs")
        calls.append(names)
        real(*names)  # type: ignore[arg-type]

    monkeypatch.setattr(outputfolder, "_exchange", late)
    with pytest.raises(FileError, match="received one with 'late'"):
        folder(place / "f", b"2", "a", overwrite=True)
    assert len(calls) == 2
    assert contents(place / "f") == {"a": b"1a", "late": b"theirs"}
    assert os.listdir(place) == ["f"]


def test_targets_that_are_no_folders(place: Path) -> None:
    put(place / "file", b"1")
    (place / "link").symlink_to(place)
    (place / "dangling").symlink_to(place / "nowhere")
    for overwrite in (False, True):
        for name in ("file", "link", "dangling"):
            with pytest.raises(FileError, match="is no folder, and would be replaced by one"):
                folder(place / name, b"2", "a", overwrite=overwrite)
        for name in ("none/f", "file/f"):
            with pytest.raises(FileError, match=r"cannot be written: (No such|Not a)"):
                folder(place / name, b"2", "a", overwrite=overwrite)
    assert (place / "file").read_bytes() == b"1"

    def race(name: str, overwrite: bool) -> None:
        with atomic_folder(place / name, overwrite=overwrite) as output:
            output.beside("a").write(b"2")
            put(place / name, b"theirs")

    for overwrite in (False, True):
        with pytest.raises(FileError, match="exists|Not a directory"):
            race("late", overwrite)
        assert (place / "late").read_bytes() == b"theirs"
        (place / "late").unlink()


def test_a_folder_taken_for_one_left_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its creation and its lock another run may remove it."""
    real, calls = hidden.lock, []

    def late(file: int) -> bool:
        calls.append(file)
        if len(calls) == 1:
            with hidden.opened(str(place)) as beside:
                hidden.remove_left_behind(beside)
        return real(file)

    monkeypatch.setattr(hidden, "lock", late)
    folder(place / "f", b"1", "a")
    assert len(calls) == 2
    assert os.listdir(place) == ["f"]


def test_folders_left_behind_are_removed_and_those_in_use_are_not(place: Path) -> None:
    left = place / ".embedfreeze-0123456789abcdef.folder"
    left.mkdir()
    put(left / "a", b"half")
    with atomic_folder(place / "f") as output:
        output.beside("a").write(b"1")
        (used,) = os.listdir(place)
        assert used != left.name
        folder(place / "g", b"2", "b")
        assert sorted(os.listdir(place)) == sorted([used, "g"])
    assert contents(place / "f") == {"a": b"1"}
