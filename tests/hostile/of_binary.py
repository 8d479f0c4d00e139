"""Entries of binary files: word2vec's, and those that are none of embeddings."""

import gzip
import io
import pickle
import struct

import numpy as np
from entries import Entry, Read, Refused, holding
from of_text import KINGS, VALUES
from samples import word2vec_bytes

MATRIX = np.array(VALUES, np.float32)
WHOLE = word2vec_bytes(KINGS, MATRIX)
HUGE = b"%d 2\n" % 10**12 + WHOLE[4:]


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, MATRIX)
    return out.getvalue()


# 20 rows of 50 weights and a bias, as `glove -binary 1` writes them.
WEIGHTS = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 51)).tobytes()

BINARY = [
    Entry(
        "a binary file cut in a row",
        holding(WHOLE[:-6]),
        Refused(
            "{path}: byte offset 32: the header promises 3 rows of 2 values, received 2 "
            "whole rows and 8 bytes: the file is truncated at byte 40, get it again (or "
            "read what is there with limit=2, --limit)"
        ),
    ),
    Entry(
        "a binary file cut in a token",
        holding(WHOLE[:-10]),
        Refused(
            "{path}: byte offset 32: the header promises 3 rows of 2 values, received 2 "
            "whole rows and 4 bytes: the file is truncated at byte 36, get it again (or "
            "read what is there with limit=2, --limit)"
        ),
    ),
    Entry(
        "a packed binary file that is cut",
        holding(gzip.compress(WHOLE[:-6], mtime=0)),
        Refused(
            "{path}: byte offset 32: the header promises 3 rows of 2 values, received 2 "
            "whole rows and 8 bytes: the file is truncated at byte 40, get it again (or "
            "read what is there with limit=2, --limit)"
        ),
    ),
    Entry(
        "a binary header alone",
        holding(b"3 2\n\0"),
        Refused(
            "{path}: byte offset 4: the header promises 3 rows of 2 values, received 0 "
            "whole rows and 1 bytes: the file is truncated at byte 5, get it again"
        ),
    ),
    Entry(
        "a binary header of too few rows",
        holding(b"2" + WHOLE[1:]),
        Refused(
            "{path}: byte offset 32: the header promises 2 rows of 2 values, received "
            "more bytes behind them: the header is wrong, or read no more than it "
            "promises with limit=2 (--limit)"
        ),
        inspect=Read(KINGS, VALUES),
    ),
    Entry(
        "a binary header that claims 10^12 rows",
        holding(HUGE),
        Refused(
            "{path}: byte offset 57: the header promises 1000000000000 rows of 2 values, "
            "received 3 whole rows and 1 bytes: the file is truncated at byte 58, get it "
            "again (or read what is there with limit=3, --limit)"
        ),
        where="child",
    ),
    Entry(
        "a packed binary header that claims 10^12 rows",
        holding(gzip.compress(HUGE, mtime=0)),
        Refused(
            "{path}: byte offset 57: the header promises 1000000000000 rows of 2 values, "
            "received 3 whole rows and 1 bytes: the file is truncated at byte 58, get it "
            "again (or read what is there with limit=3, --limit)"
        ),
        where="child",
    ),
    Entry(
        "a binary header that claims rows of 4 GB",
        holding(b"3 999999999\n" + WHOLE[4:]),
        Refused(
            "{path}: byte offset 12: the header promises 3 rows of 999999999 values, "
            "received 0 whole rows and 42 bytes: the file is truncated at byte 54, get "
            "it again"
        ),
        where="child",
    ),
    Entry(
        "a binary header of rows without values",
        holding(b"3 0\n" + b"\1\2\3\0"),
        Refused(
            "{path}: the content is b'3 0\\n\\x01\\x02\\x03\\x00': get the file again, or "
            "name its format with format= (--from) if you know it; it must be one of "
            "{formats}"
        ),
    ),
    Entry(
        "a binary token that never ends",
        holding(b"1 2\n" + b"\xf0\x9f" * 50),
        Refused(
            "{path}: byte offset 4: the header promises 1 rows of 2 values, received 0 "
            "whole rows and 100 bytes: the file is truncated at byte 104, get it again"
        ),
    ),
    Entry(
        "a binary token that is not UTF-8",
        holding(word2vec_bytes([b"king", b"caf\xe9", b"man"], MATRIX)),
        Refused(
            "{path}: byte offset 18: tokens must be UTF-8, received b'caf\\xe9': pass "
            'unicode_errors="replace" or "surrogateescape" (--unicode-errors) to take it'
        ),
        load=Read([b"king"], [[1, 2]]),
        inspect=Read([b"king", b"caf\xe9", b"man"], VALUES),
    ),
    Entry(
        "a binary token cut inside of a character, escaped",
        holding(word2vec_bytes([b"king", b"caf\xc3", b"man"], MATRIX)),
        Read([b"king", b"caf\xc3", b"man"], VALUES),
        options={"unicode_errors": "surrogateescape"},
    ),
    Entry(
        "a repeated binary token",
        holding(word2vec_bytes([b"king", b"queen", b"king"], MATRIX)),
        Read(
            [b"king", b"queen"],
            [[1, 2], [3, 4]],
            (
                "{path}: 1 row repeats an earlier token (the first is 'king'); of each token "
                "the first row is kept",
            ),
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
        convert=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "a binary token that is empty",
        holding(word2vec_bytes([b"king", b"", b"man"], MATRIX)),
        Read([b"king", b"", b"man"], VALUES),
    ),
    Entry(
        "binary values that are not finite",
        holding(word2vec_bytes(KINGS, np.array([[1, 2], [np.nan, 4], [5, -np.inf]], "f4"))),
        Read(
            KINGS,
            [[1, 2], [np.nan, 4], [5, -np.inf]],
            (
                "{path}: 2 rows have values that are not finite (nan or inf), which are kept "
                "as they are; the first is 'queen' at byte offset 18",
            ),
        ),
    ),
    Entry(
        "binary given as GloVe text",
        holding(WHOLE),
        Refused(
            "{path}: GloVe text must be lines of a token and numbers, received none: "
            "leave format= out to have the format recognised"
        ),
        options={"format": "glove"},
    ),
    Entry(
        "binary given as word2vec text",
        holding(WHOLE),
        Refused(
            "{path}: line 1: word2vec text must begin with a line of two numbers, rows "
            "and dim, that fits the lines after it: leave format= out to have the format "
            "recognised"
        ),
        options={"format": "word2vec-text"},
    ),
    Entry(
        "a pickle under the name of a binary file",
        holding(pickle.dumps({"vectors": [1, 2]}), "f.bin"),
        Refused(
            "{path}: a Python pickle, as gensim's save() writes it, can run any code and is not "
            "opened: pass allow_pickle=True (--allow-pickle) if you trust who made it, or write "
            "the vectors in gensim with save_word2vec_format() and read that"
        ),
    ),
    Entry(
        "GloVe's own binary file",
        holding(WEIGHTS, "vectors.bin"),
        Refused(
            "{path}: the content is what may be GloVe's own binary (float64 without tokens): "
            "read the text file that GloVe writes beside it (-binary 0 or 2); it must be one "
            "of {formats}"
        ),
    ),
    Entry(
        "a fastText model of nothing but zeros",
        holding(struct.pack("<2i", 793712314, 12) + bytes(80)),
        Refused(
            "{path}: byte offset 64: a model must have a dim above 0, buckets from 0 on and "
            "n-grams of at most 1024 characters, received dim 0, 0 buckets and n-grams of 0 to 0: "
            "the file is damaged, get it again"
        ),
    ),
    Entry(
        "a NumPy array without tokens",
        holding(npy()),
        Refused(
            "{path}: an array has no tokens, and no file of them stands beside it: name one with "
            "tokens= (--tokens), or call it <stem>.tokens.json; it lists a token for each of the 3 "
            "rows"
        ),
    ),
    Entry(
        "nothing between the marks of Parquet",
        holding(b"PAR1" + bytes(50) + b"PAR1"),
        Refused(
            "{path}: Parquet cannot be read ({...}): the file is damaged or cut off, get it again"
        ),
    ),
    Entry(
        "a program",
        holding(b"\x7fELF\2\1\1" + bytes(60)),
        Refused(
            "{path}: the content is a program: name the embedding file itself; it must be "
            "one of {formats}"
        ),
    ),
    Entry(
        "a database of zeros",
        holding(b"SQLite format 3\0" + bytes(84)),
        Refused(
            "{path}: SQLite cannot read the file ({...}): it is damaged or cut off, get it again"
        ),
    ),
    Entry(
        "a finalfusion file of zeros",
        holding(b"FiFu" + bytes(40)),
        Refused(
            "{path}: byte offset 36: numbers must not end behind byte 44, received some that do: "
            "the file is damaged, get it again"
        ),
    ),
    Entry(
        "zeros",
        holding(bytes(5000)),
        Refused(
            "{path}: the content is "
            f"{bytes(24)!r}...: "
            "get the file again, or name its format with format= (--from) if you know it; "
            "it must be one of {formats}"
        ),
    ),
    Entry(
        "one byte",
        holding(b"\n"),
        Refused(
            "{path}: the content is b'\\n': get the file again, or name its format with "
            "format= (--from) if you know it; it must be one of {formats}"
        ),
    ),
]
