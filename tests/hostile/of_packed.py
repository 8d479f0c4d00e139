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
            "{path}: an archive needs member= unless it has one member, received 2: "
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
            "{path}: an archive needs member= unless it has one member, received 0: none", FileError
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
            "{path}:a.zip: the content must be one of {formats}, received a zip archive "
            "inside of an archive or of gzip data: unpack it"
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
            "{path}: the content must be one of {formats}, received gzip data inside of "
            "an archive or of gzip data: unpack it once"
        ),
    ),
    Entry(
        "a gzip file of nothing",
        holding(gzip.compress(b"", mtime=0)),
        Refused(
            "{path}: the content must be one of {formats}, received nothing: was its "
            "download or copy cut off?"
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
        Refused(
            "{path}: the content must be one of {formats}, received a tar archive: "
            "unpack it first; gzip and zip are read as they are"
        ),
    ),
    Entry(
        "bzip2",
        holding(bz2.compress(THREE)),
        Refused(
            "{path}: the content must be one of {formats}, received bzip2 data: unpack "
            "it first; gzip and zip are read as they are"
        ),
    ),
    Entry(
        "xz",
        holding(lzma.compress(THREE)),
        Refused(
            "{path}: the content must be one of {formats}, received xz data: unpack it "
            "first; gzip and zip are read as they are"
        ),
    ),
]
