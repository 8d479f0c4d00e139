"""Entries 1 to 59: text. Rows, numbers, headers, tokens, line ends."""

import numpy as np
from entries import Entry, Read, Refused, holding

from embedfreeze.errors import FileError

DIGITS = "0." + "123456789" * 11_111 + "1"
ODD_TOKENS = ["a\u00a0b", "\u3000", "x\u2028y", "\u0085", "\u200b", "\ufeffmark", "\x1c"]
INVALID = b"king 1 2\ncaf\xe9 3 4\nqueen 5 6\n"
THREE = b"king 1 2\nqueen 3 4\nman 5 6\n"
VALUES = [[1, 2], [3, 4], [5, 6]]
KINGS = [b"king", b"queen", b"man"]


def odd_rows(tokens: list[str]) -> bytes:
    return b"".join(f"{token} {i} 0.5\n".encode() for i, token in enumerate(tokens))


def long_line(folder):
    """A row, then 80 MB without a line end that take no place on the disk."""
    path = folder / "f"
    path.write_bytes(b"king 1 2\nqueen 3 4\nman ")
    with open(path, "r+b") as file:
        file.truncate(80 << 20)
    return path


TEXT = [
    Entry(
        "a row that is too short",
        holding(b"king 1 2\nqueen 3\nman 5 6\n"),
        Refused(
            "{path}: line 2: a row must be a token and 2 numbers, received 1 numbers: "
            'mend the file, or skip such rows with on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a last row that is cut off",
        holding(b"king 1 2\nqueen 3 4\nman 5"),
        Refused(
            "{path}: line 3: a row must be a token and 2 numbers, received 1 numbers: "
            "this is the last row: the file was probably cut off, get it again"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "a row that is too long",
        holding(b"king 0.1 0.2 0.3\nqueen 1 2\nman 3 4\n"),
        Read(
            [b"king 0.1", b"queen", b"man"],
            [[0.20000000298023224, 0.30000001192092896], [1, 2], [3, 4]],
            (
                "{path}: 1 tokens end in a number after a space: the last 2 fields of a line "
                "are its vector, so these rows may have too many numbers; the first is 'king "
                "0.1' at line 1",
            ),
        ),
    ),
    Entry(
        "a word where a number must stand",
        holding(b"king 1 2\nqueen x 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received 'x' "
            "where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a number with an underscore",
        holding(b"king 1 2\nqueen 1_0 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received "
            "'1_0' where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a hexadecimal integer",
        holding(b"king 1 2\nqueen 0x10 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received "
            "'0x10' where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a hexadecimal float",
        holding(b"king 1 2\nqueen 0x1p3 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received "
            "'0x1p3' where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a decimal comma",
        holding(b"king 1 2\nqueen 1,5 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received "
            "'1,5' where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "an exponent without digits",
        holding(b"king 1 2\nqueen 1e 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received "
            "'1e' where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a sign alone",
        holding(b"king 1 2\nqueen - 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received '-' "
            "where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "Arabic digits",
        holding("king 1 2\nqueen \u0663 4\nman 5 6\n".encode()),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received '٣' "
            "where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "NaN and infinity spelled",
        holding(b"king 1 2\nqueen nan 4\nman -INF infinity\n"),
        Read(
            KINGS,
            [[1, 2], [np.nan, 4], [-np.inf, np.inf]],
            (
                "{path}: 2 rows have values that are not finite (nan or inf), which are kept "
                "as they are; the first is 'queen' at line 2",
            ),
        ),
    ),
    Entry(
        "numbers beyond float32",
        holding(b"king 1e999999 2\nqueen -1e39 4\nman 5 6\n"),
        Read(
            KINGS,
            [[np.inf, 2], [-np.inf, 4], [5, 6]],
            (
                "{path}: 2 rows have values that are not finite (nan or inf), which are kept "
                "as they are; the first is 'king' at line 1",
            ),
        ),
    ),
    Entry(
        "rare spellings of numbers",
        holding(b"king .5 5.\nqueen +1 -00.50e+01\nman 5 6\n"),
        Read(KINGS, [[0.5, 5], [1, -5], [5, 6]]),
    ),
    Entry(
        "a number of 100,000 digits",
        holding(f"king {DIGITS} 2\nqueen 3 4\n".encode()),
        Read([b"king", b"queen"], [[0.12345679104328156, 2], [3, 4]]),
    ),
    Entry(
        "an empty file",
        holding(b""),
        Refused("{path}: the file is empty: was its download or copy cut off?", FileError),
    ),
    Entry(
        "line ends alone",
        holding(b"\n\r\n\n"),
        Refused(
            "{path}: the content is b'\\n\\r\\n\\n': get the file again, or name its format "
            "with format= (--from) if you know it; it must be one of {formats}"
        ),
    ),
    Entry(
        "a header alone",
        holding(b"400000 50\n"),
        Refused(
            "{path}: byte offset 10: the header promises 400000 rows of 50 values, "
            "received 0 whole rows and 0 bytes: the file is truncated at byte 10, get it "
            "again"
        ),
    ),
    Entry(
        "half a header",
        holding(b"400000"),
        Refused(
            "{path}: the content is b'400000': get the file again, or name its format with "
            "format= (--from) if you know it; it must be one of {formats}"
        ),
    ),
    Entry(
        "a header with too many rows",
        holding(b"9 2\n" + THREE),
        Read(KINGS, VALUES, ("{path}: the header says 9 rows, found 3: the file may be cut off",)),
        load=Read(KINGS, VALUES),
    ),
    Entry(
        "a header with too few rows",
        holding(b"2 2\n" + THREE),
        Read(KINGS, VALUES, ("{path}: the header says 2 rows, found 3: the header is wrong",)),
        load=Read(KINGS, VALUES),
    ),
    Entry(
        "a header that claims 10^12 rows",
        holding(b"%d 2\n" % 10**12 + THREE),
        Read(
            KINGS,
            VALUES,
            ("{path}: the header says 1000000000000 rows, found 3: the file may be cut off",),
        ),
        load=Read(KINGS, VALUES),
        where="child",
    ),
    Entry(
        "a header that claims 10^9 values",
        holding(b"3 1000000000\n" + THREE),
        Refused(
            "{path}: line 1: a row must be a token and 2 numbers, received 1 numbers: if "
            "this is a header, it must be the number of rows and 2; mend it, or take it "
            "out"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
        where="child",
    ),
    Entry("a header the other way round", holding(b"2 3\n" + THREE), Read(KINGS, VALUES)),
    Entry(
        "a header of another dim",
        holding(b"400000 50\n" + THREE),
        Refused(
            "{path}: line 1: a row must be a token and 2 numbers, received 1 numbers: if "
            "this is a header, it must be the number of rows and 2; mend it, or take it "
            "out"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "a header of negative numbers",
        holding(b"-3 2\n" + THREE),
        Refused(
            "{path}: line 1: a row must be a token and 2 numbers, received 1 numbers: if "
            "this is a header, it must be the number of rows and 2; mend it, or take it "
            "out"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "a header beyond 64 bits",
        holding(b"99999999999999999999 2\n" + THREE),
        Refused(
            "{path}: line 1: a row must be a token and 2 numbers, received 1 numbers: if "
            "this is a header, it must be the number of rows and 2; mend it, or take it "
            "out"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "a repeated token",
        holding(THREE + b"king 7 8\n"),
        Read(
            KINGS,
            VALUES,
            (
                "{path}: 1 row repeats an earlier token (the first is 'king'); of each token "
                "the first row is kept",
            ),
        ),
        load=Read(KINGS, VALUES),
        convert=Read(KINGS, VALUES),
    ),
    Entry(
        "a repeated token that is refused",
        holding(THREE + b"king 7 8\n"),
        Refused(
            "{path}: line 4: tokens must differ, received b'king', which row 0 (from 0) "
            "has too: keep one with on_duplicate= (--on-duplicate)"
        ),
        load=Refused(
            "{path}: line 4: tokens must differ, received 'king' again: keep one with "
            "on_duplicate= (--on-duplicate)"
        ),
        inspect=Read(KINGS, VALUES),
        options={"on_duplicate": "error"},
    ),
    Entry(
        "tokens with strange spaces",
        holding(odd_rows(ODD_TOKENS)),
        Read(
            [
                b"a\xc2\xa0b",
                b"\xe3\x80\x80",
                b"x\xe2\x80\xa8y",
                b"\xc2\x85",
                b"\xe2\x80\x8b",
                b"\xef\xbb\xbfmark",
                b"\x1c",
            ],
            [[0, 0.5], [1, 0.5], [2, 0.5], [3, 0.5], [4, 0.5], [5, 0.5], [6, 0.5]],
        ),
    ),
    Entry(
        "an empty token",
        holding(b"king 1 2\n 3 4\nman 5 6\n"),
        Read([b"king", b"", b"man"], VALUES),
    ),
    Entry(
        "tokens with spaces at their ends",
        holding(b" king 1 2\nqueen  3 4\nman 5 6\n"),
        Read([b" king", b"queen ", b"man"], VALUES),
    ),
    Entry(
        "a token that is not UTF-8",
        holding(INVALID),
        Refused(
            "{path}: line 2: tokens must be UTF-8, received b'caf\\xe9': pass "
            'unicode_errors="replace" or "surrogateescape" (--unicode-errors) to take it'
        ),
        load=Read([b"king", b"queen"], [[1, 2], [5, 6]]),
        inspect=Read([b"king", b"caf\xe9", b"queen"], VALUES),
    ),
    Entry(
        "a token that is not UTF-8, replaced",
        holding(INVALID),
        Read([b"king", b"caf\xe9", b"queen"], VALUES),
        options={"unicode_errors": "replace"},
    ),
    Entry(
        "a token that is not UTF-8, escaped",
        holding(INVALID),
        Read([b"king", b"caf\xe9", b"queen"], VALUES),
        options={"unicode_errors": "surrogateescape"},
    ),
    Entry(
        "half a character in UTF-8",
        holding(b"king 1 2\n\xed\xa0\x80 3 4\n"),
        Refused(
            "{path}: line 2: tokens must be UTF-8, received b'\\xed\\xa0\\x80': pass "
            'unicode_errors="replace" or "surrogateescape" (--unicode-errors) to take it'
        ),
        load=Read([b"king"], [[1, 2]]),
        inspect=Read([b"king", b"\xed\xa0\x80"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "a NUL in a token",
        holding(b"king 1 2\nqu\0een 3 4\nman 5 6\n"),
        Read([b"king", b"qu\x00een", b"man"], VALUES),
    ),
    Entry(
        "a NUL in a number",
        holding(b"king 1 2\nqueen 3\0 4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 2: a row must be a token and 2 numbers, received "
            "'3\\x00' where a number must stand: mend the file, or skip such rows with "
            'on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry("a byte order mark", holding(b"\xef\xbb\xbf" + THREE), Read(KINGS, VALUES)),
    Entry("line ends of Windows", holding(THREE.replace(b"\n", b"\r\n")), Read(KINGS, VALUES)),
    Entry(
        "line ends of old Macs",
        holding(THREE.replace(b"\n", b"\r")),
        Refused(
            "{path}: the content is rows with a carriage return alone at the end of a line: "
            "separate fields by single spaces and end lines by line feeds; it must be one of "
            "{formats}"
        ),
    ),
    Entry(
        "a carriage return inside of a token",
        holding(b"ki\rng 1 2\nqueen 3 4\n"),
        Read([b"ki\rng", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry("no line end at the end", holding(THREE[:-1]), Read(KINGS, VALUES)),
    Entry(
        "a space at the end of each line",
        holding(THREE.replace(b"\n", b" \n")),
        Read(KINGS, VALUES),
    ),
    Entry(
        "two spaces at the end of each line",
        holding(THREE.replace(b"\n", b"  \n")),
        Read(KINGS, VALUES),
    ),
    Entry("tabs between all fields", holding(THREE.replace(b" ", b"\t")), Read(KINGS, VALUES)),
    Entry(
        "a tab behind the token",
        holding(b"king\t1 2\nqueen\t3 4\nman\t5 6\n"),
        Read([b"king", b"queen", b"man"], [[1, 2], [3, 4], [5, 6]]),
    ),
    Entry(
        "several spaces between fields",
        holding(THREE.replace(b" ", b"   ")),
        Read(KINGS, VALUES),
    ),
    Entry(
        "two spaces in one row",
        holding(b"king 1 2\nqueen 3  4\nman 5 6\n"),
        Refused(
            "{path}: line 2, column 3: a row must be a token and 2 numbers, received an "
            "empty field where a number must stand: mend the file, or skip such rows "
            'with on_bad_row="skip" (--on-bad-row skip)'
        ),
    ),
    Entry(
        "a blank line between rows",
        holding(b"king 1 2\n\nqueen 3 4\nman 5 6\n"),
        Refused(
            "{path}: line 2: a row must be a token and 2 numbers, received a blank line: "
            'mend the file, or skip such rows with on_bad_row="skip" (--on-bad-row skip)'
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry("blank lines at the end", holding(THREE + b"\n\r\n\n"), Read(KINGS, VALUES)),
    Entry(
        "bad rows that are skipped",
        holding(b"king 1 2\nx\n" + THREE[9:]),
        Read(KINGS, VALUES, ("{path}: 1 bad row was skipped, the first at line 2",)),
        load=Read(KINGS, VALUES),
        inspect=Refused(
            "{path}: line 2: a row must be a token and 2 numbers, received 0 numbers: "
            'mend the file, or skip such rows with on_bad_row="skip" (--on-bad-row skip)'
        ),
        options={"on_bad_row": "skip"},
    ),
    Entry(
        "a line of 80 MB",
        long_line,
        Refused(
            "{path}: line 3: a line is longer than 67108864 bytes: this is no text of embeddings, "
            "get the file again"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
        where="child",
    ),
    Entry(
        "text in UTF-16",
        holding(THREE.decode().encode("utf-16")),
        Refused(
            "{path}: the content is text in UTF-16 or UTF-32: convert it to UTF-8, for "
            "example with iconv; it must be one of {formats}"
        ),
    ),
    Entry(
        "text in UTF-16 without a mark",
        holding(THREE.decode().encode("utf-16-le")),
        Refused(
            "{path}: the content is text in UTF-16 or UTF-32: convert it to UTF-8, for "
            "example with iconv; it must be one of {formats}"
        ),
    ),
    Entry(
        "a CSV table",
        holding(b"word,x,y\nking,1,2\nqueen,3,4\nman,5,6\n"),
        Read([b"king", b"queen", b"man"], [[1, 2], [3, 4], [5, 6]]),
    ),
    Entry(
        "JSON",
        holding(b'{"king": [1, 2], "queen": [3, 4]}\n'),
        Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "an error page",
        holding(b"<!DOCTYPE html>\n<html><title>404</title></html>\n"),
        Refused(
            "{path}: the content is a web page or XML: the download went wrong, get the file "
            "itself; it must be one of {formats}"
        ),
    ),
    Entry(
        "an error message",
        holding(b"Not Found"),
        Refused(
            "{path}: the content is b'Not Found': get the file again, or name its format "
            "with format= (--from) if you know it; it must be one of {formats}"
        ),
    ),
    Entry(
        "a Git LFS pointer",
        holding(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d2"
            b"2eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
        ),
        Refused(
            "{path}: the content is a Git LFS pointer, not the file: fetch the file with "
            '"git lfs pull"; it must be one of {formats}'
        ),
    ),
    Entry(
        "text given as binary",
        holding(b"3 2\n" + THREE),
        Refused(
            "{path}: byte offset 4: word2vec binary must hold float32 values, received "
            "rows of text: leave format= (--from) out to have the format recognised"
        ),
        options={"format": "word2vec"},
    ),
    Entry(
        "text given as HDF5",
        holding(THREE),
        Refused(
            "{path}: HDF5 cannot open the file ({...}): it is damaged or cut off, get it again"
        ),
        options={"format": "hdf5"},
    ),
    Entry(
        "text given as a store",
        holding(THREE),
        Refused(
            "{path}: a store must begin with the length of its header and the header, "
            "received b'king 1 2\\n': the file is damaged or no store of this library, "
            "get it or make it again"
        ),
        options={"format": "store"},
    ),
    Entry(
        "rows given as word2vec",
        holding(THREE),
        Refused(
            "{path}: line 1: word2vec text must begin with a line of two numbers, rows "
            "and dim, that fits the lines after it: leave format= out to have the format "
            "recognised"
        ),
        options={"format": "word2vec-text"},
    ),
    Entry(
        "word2vec given as GloVe",
        holding(b"3 2\n" + THREE),
        Refused(
            "{path}: line 1: a row must be a token and 2 numbers, received 1 numbers: if "
            "this is a header, it must be the number of rows and 2; mend it, or take it "
            "out"
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
        options={"format": "glove"},
    ),
]
