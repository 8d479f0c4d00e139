from typing_extensions import Buffer

def are_finite(values: Buffer, /) -> bool: ...
def copy_rows(buffer: Buffer, spans: Buffer, values: Buffer, /) -> bool: ...
def count_lines(buffer: Buffer, start: int, stop: int, /) -> int: ...
def crc32c(buffer: Buffer, by_tables: bool = ..., /) -> int: ...
def cut_tokens(
    text: Buffer, start: int, fold: Buffer, folded: Buffer, spans: Buffer, odd: Buffer, /
) -> tuple[int, int, int]: ...
def find_entries(buffer: Buffer, start: int, tail: int, spans: Buffer, /) -> tuple[int, int]: ...
def find_heap_strings(buffer: Buffer, references: Buffer, spans: Buffer, /) -> bool: ...
def find_lines(
    buffer: Buffer,
    start: int,
    stop: int,
    delimiter: int,
    blob: Buffer,
    offsets: Buffer,
    slots: Buffer,
    starts: Buffer,
    /,
) -> tuple[int, int]: ...
def find_records(
    buffer: Buffer,
    start: int,
    until: int,
    row_bytes: int,
    limit: int,
    blob: Buffer,
    offsets: Buffer,
    slots: Buffer,
    spans: Buffer,
    /,
) -> tuple[int, int, int]: ...
def first_not_utf8(blob: Buffer, offsets: Buffer, /) -> int: ...
def floret_rows(
    tokens: tuple[Buffer, Buffer],
    ngrams: tuple[int, int, int, int],
    matrix: tuple[Buffer, int, int, int],
    target: Buffer,
    /,
) -> None: ...
def format_records(
    blob: Buffer, offsets: Buffer, values: Buffer, row_bytes: int, records: Buffer, /
) -> None: ...
def format_rows(
    blob: Buffer, offsets: Buffer, values: Buffer, dim: int, delimiter: int, text: Buffer, /
) -> int: ...
def gather_spans(buffer: Buffer, spans: Buffer, blob: Buffer, /) -> None: ...
def guard_enter(mapping: Buffer, /) -> int: ...
def guard_hit(guard: int, /) -> bool: ...
def guard_leave(guard: int, /) -> bool: ...
def guess_record(buffer: Buffer, start: int, row_bytes: int, /) -> int: ...
def hash_tokens(blob: Buffer, offsets: Buffer, hashes: Buffer, /) -> None: ...
def index_find(
    blob: Buffer, offsets: Buffer, slots: Buffer, buffer: Buffer, spans: Buffer, rows: Buffer, /
) -> bool: ...
def index_insert(
    blob: Buffer, offsets: Buffer, slots: Buffer, first: int, last: int, found: Buffer, /
) -> None: ...
def is_number(field: Buffer, /) -> bool: ...
def murmur_tokens(blob: Buffer, offsets: Buffer, seed: int, hashes: Buffer, /) -> None: ...
def parse_rows(
    buffer: Buffer,
    stop: int,
    delimiter: int,
    dim: int,
    starts: Buffer,
    values: Buffer,
    spans: Buffer,
    unusual: Buffer = ...,
    /,
) -> int: ...
def pool_rows(
    values: Buffer,
    dim: int,
    ids: Buffer,
    row_splits: Buffer,
    weights: Buffer,
    how: int,
    pooled: Buffer,
    /,
) -> None: ...
def scatter_rows(
    source: Buffer, rows: Buffer, target: Buffer, ids: Buffer, row_bytes: int, /
) -> None: ...
def subword_rows(
    tokens: tuple[Buffer, Buffer, Buffer],
    ngrams: tuple[int, int, int, int, Buffer | None, Buffer | None],
    matrix: tuple[Buffer, int, int, int, Buffer, Buffer, int],
    target: Buffer,
    /,
) -> int: ...
