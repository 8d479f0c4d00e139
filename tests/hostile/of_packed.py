"""Entries of packed files: gzip, zip and what else is compressed."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

from entries import Entry, Read, Refused, holding
from of_text import KINGS, THREE, VALUES

from embedfreeze.errors import FileError

PACKED = gzip.compress(THREE, mtime=0)
ROWS = b"".join(b"token%d %d 0.5\n" % (i, i * 7919) for i in range(4000))


def zipped(*members: tuple[str, bytes], stored: bool = False) -> bytes:
    """A zip archive; each member with the same date."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def with_password() -> bytes:
    """The flag of encryption set, where each header of the member has it."""
    data = bytearray(zipped(("a.txt", THREE)))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def with_wrong_sum() -> bytes:
    """One digit of a stored member changed."""
    return zipped(("a.txt", THREE), stored=True).replace(b"queen 3", b"queen 8")


def tar_gz() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = len(THREE)
        archive.addfile(info, io.BytesIO(THREE))
    return out.getvalue()


def tarred(
    *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, size: int | None = None
) -> bytes:
    """A tar archive, its headers as they are told."""
    out = b""
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/hostname"
        info.size = len(data) if size is None else size
        content = data if kind == tarfile.REGTYPE else b""
        out += info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
    return out + bytes(1024)


def bomb(folder: Path) -> Path:
    """200 MB of zeros in a member of 200 kB."""
    path = folder / "f"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.txt", "w") as member,
    ):
        member.write(THREE)
        for _ in range(20):
            member.write(bytes(10 << 20))
    return path


PACKED_FILES = [
    Entry("gzip under a plain name", holding(PACKED, "f.txt"), Read(KINGS, VALUES)),
    Entry(
        "zip under a plain name", holding(zipped(("a.txt", THREE)), "f.txt"), Read(KINGS, VALUES)
    ),
    Entry("plain text under a packed name", holding(THREE, "f.txt.gz"), Read(KINGS, VALUES)),
    Entry(
        "an archive of several members",
        holding(zipped(("b/100d.txt", THREE), ("b/50d.txt", THREE), ("__MACOSX/x", b"x"))),
        Refused(
            "{path}: an archive needs member= (--member) unless it has one member, received 2: "
            "b/100d.txt, b/50d.txt",
            FileError,
        ),
    ),
    Entry(
        "a member that an archive has not",
        holding(zipped(("100d.txt", THREE), ("50d.txt", THREE))),
        Refused(
            "{path}: the archive has no member '300d.txt'; it has 100d.txt, 50d.txt", FileError
        ),
        options={"member": "300d.txt"},
    ),
    Entry(
        "a member of a plain file",
        holding(THREE),
        Refused(
            "{path}: member names a member of an archive or a part of a file that has several, "
            "such as an HDF5 dataset, received 'a.txt' for a glove file: leave it out",
            FileError,
        ),
        options={"member": "a.txt"},
    ),
    Entry(
        "an empty archive",
        holding(zipped()),
        Refused(
            "{path}: an archive needs member= (--member) unless it has one member, received 0: "
            "none",
            FileError,
        ),
    ),
    Entry(
        "an archive with a password",
        holding(with_password()),
        Refused(
            "{path}: the zip data must be packed in a way that Python reads, without a "
            "password ({...}): unpack it first"
        ),
    ),
    Entry(
        "a cut archive",
        holding(zipped(("a.txt", ROWS))[:9000]),
        Refused(
            "{path}: the zip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry(
        "an archive with a wrong checksum",
        holding(with_wrong_sum()),
        Refused(
            "{path}: the zip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry(
        "an archive inside of an archive",
        holding(zipped(("a.zip", zipped(("a", THREE))))),
        Refused(
            "{path}:a.zip: the content is a zip archive inside of an archive or of gzip "
            "data: unpack it; it must be one of {formats}"
        ),
    ),
    Entry(
        "200 MB of zeros in a small archive",
        bomb,
        Refused(
            "{path}:a.txt: line 4: a line is longer than 67108864 bytes: this is no text "
            "of embeddings, get the file again"
        ),
        where="child",
    ),
    Entry(
        "a gzip file cut at its end",
        holding(PACKED[:-6]),
        Refused(
            "{path}: the gzip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry(
        "a gzip file cut in the middle",
        holding(gzip.compress(ROWS, mtime=0)[:9000]),
        Refused(
            "{path}: the gzip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry(
        "a gzip file with a wrong checksum",
        holding(PACKED[:-8] + b"\0" * 8),
        Refused(
            "{path}: the gzip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry(
        "a gzip file with other bytes behind it",
        holding(PACKED + b"more"),
        Refused(
            "{path}: the gzip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry("zeros behind a gzip file", holding(PACKED + b"\0" * 512), Read(KINGS, VALUES)),
    Entry(
        "several gzip files in one",
        holding(PACKED + gzip.compress(b"new 7 8\n", mtime=0)),
        Read([b"king", b"queen", b"man", b"new"], [[1, 2], [3, 4], [5, 6], [7, 8]]),
    ),
    Entry(
        "gzip inside of gzip",
        holding(gzip.compress(PACKED, mtime=0)),
        Refused(
            "{path}: the content is gzip data inside of an archive or of gzip data: unpack "
            "it once; it must be one of {formats}"
        ),
    ),
    Entry(
        "a gzip file of nothing",
        holding(gzip.compress(b"", mtime=0)),
        Refused(
            "{path}: the content is nothing: its download or copy may have been cut off; it "
            "must be one of {formats}"
        ),
    ),
    Entry(
        "a gzip header alone",
        holding(PACKED[:10]),
        Refused(
            "{path}: the gzip data cannot be read to its end ({...}): it is damaged or "
            "cut off, get it again"
        ),
    ),
    Entry(
        "a packed tar archive",
        holding(tar_gz()),
        Read(KINGS, VALUES),
    ),
    Entry(
        "bzip2",
        holding(bz2.compress(THREE)),
        Read(KINGS, VALUES),
    ),
    Entry(
        "xz",
        holding(lzma.compress(THREE)),
        Read(KINGS, VALUES),
    ),
    Entry("a tar archive of one file", holding(tarred(("a.txt", THREE))), Read(KINGS, VALUES)),
    Entry(
        "a tar archive of two files",
        holding(tarred(("b/100d.txt", THREE), ("b/50d.txt", THREE))),
        Refused(
            "{path}: an archive needs member= (--member) unless it has one member, received 2: "
            "b/100d.txt, b/50d.txt",
            FileError,
        ),
    ),
    Entry(
        "a tar archive whose names lead out of it",
        holding(tarred(("../a.txt", THREE), ("/etc/a.txt", THREE), ("b/../../a.txt", THREE))),
        Refused(
            "{path}: an archive needs member= (--member) unless it has one member, received 0: "
            "none",
            FileError,
        ),
    ),
    Entry(
        "a tar archive of links",
        holding(tarred(("a.txt", THREE), kind=tarfile.SYMTYPE)),
        Refused(
            "{path}: an archive needs member= (--member) unless it has one member, received 0: "
            "none",
            FileError,
        ),
    ),
    Entry(
        "a tar archive cut inside of its member",
        holding(tarred(("a.txt", ROWS))[:9000]),
        Refused(
            "{path}: the tar data cannot be read to its end (it ends inside of a member): it is "
            "damaged or cut off, get it again"
        ),
    ),
    Entry(
        "a tar archive with a header that claims a gigabyte of name",
        holding(
            bz2.compress(tarred(("a.txt", THREE), kind=tarfile.GNUTYPE_LONGNAME, size=1 << 30))
        ),
        Refused(
            "{path}: the bzip2 data cannot be read to its end (a tar header may have 1048576 "
            "bytes, received one of 1073741824): it is damaged or cut off, get it again"
        ),
    ),
    Entry(
        "bzip2 cut in the middle",
        holding(bz2.compress(ROWS)[:9000]),
        Refused(
            "{path}: the bzip2 data cannot be read to its end ({...}): it is damaged or cut off, "
            "get it again"
        ),
    ),
    Entry(
        "xz with a dictionary of 300 MiB",
        holding(
            lzma.compress(
                THREE, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 300 << 20}]
            )
        ),
        Refused(
            "{path}: the xz data asks for more memory than unpacking may take ({...}): unpack it "
            "first"
        ),
    ),
    Entry(
        "64 MB of zeros in a packed HDF5 file",
        holding(gzip.compress(b"\x89HDF\r\n\x1a\n" + bytes(64 << 20), 1, mtime=0)),
        Refused(
            "{path}: it must be unpacked into a temporary file in {...}, which may have 33554432 "
            "bytes, and it is larger: if it is what you expect, pass spool_limit= (--spool-limit), "
            'such as "32G", and set TMPDIR to a folder with room',
            FileError,
        ),
        options={"spool_limit": 32 << 20},
    ),
]
