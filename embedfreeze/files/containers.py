"""What files are packed in: gzip, and archives of members."""

from __future__ import annotations

from typing import IO, Literal

from embedfreeze.errors import FileError, FormatError

__all__ = ["Container", "damage", "damaged", "open_member"]

Container = Literal["gzip", "zip"]


# The libraries of compressed and temporary files are imported where they are needed: plain files
# are the usual ones, and a short start is a promise.
def damage() -> tuple[type[Exception], ...]:
    """What reading damaged compressed data raises."""
    import lzma
    import zipfile
    import zlib

    return EOFError, OSError, zlib.error, zipfile.BadZipFile, lzma.LZMAError


def open_member(name: str, raw: IO[bytes], member: str | None) -> tuple[str, IO[bytes]]:
    """A member of a zip archive, which may be left out if there is one: its name and its bytes.

    Raises
    ------
    FileError
        There is no such member, or there are several.
    FormatError
        The archive is damaged.
    """
    import zipfile

    try:
        archive = zipfile.ZipFile(raw)
        members = [info.filename for info in archive.infolist() if not info.is_dir()]
        if member is None:
            real = [m for m in members if not m.startswith("__MACOSX/")]
            if len(real) != 1:
                listed = ", ".join(real[:20]) or "none"
                raise FileError(
                    f"an archive needs member= unless it has one member, received {len(real)}: "
                    f"{listed}",
                    path=name,
                )
            member = real[0]
        if member not in members:
            raise FileError(
                f"the archive has no member {member!r}; it has {', '.join(members[:20])}",
                path=name,
            )
        return member, archive.open(member)
    except (NotImplementedError, RuntimeError) as error:
        raise FormatError(
            f"the zip data must be packed in a way that Python reads, without a password "
            f"({error}): unpack it first",
            path=name,
        ) from error
    except (zipfile.BadZipFile, OSError, ValueError, IndexError) as error:
        if isinstance(error, FileError):
            raise
        raise damaged(name, "zip", error) from error


def damaged(path: str, container: Container | None, error: Exception) -> FormatError:
    """The error for data that cannot be decompressed or read."""
    what = f"the {container} data" if container else "the file"
    return FormatError(
        f"{what} cannot be read to its end ({error}): it is damaged or cut off, get it again",
        path=path,
    )
