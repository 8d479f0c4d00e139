/* The compiled part of embedfreeze: finds rows, cuts tokens, parses and writes values, and keeps
 * the token index. Every function takes buffers that the caller owns, checks their sizes, and
 * works without the GIL; none of them trusts a file. Plain C, limited API of Python 3.11. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_checksum.h"
#include "_decimal.h"
#include "_guard.h"
#include "_subwords.h"

/* ---- buffers ---------------------------------------------------------------------------- */

typedef Py_ssize_t idx;

static int check_items(const Py_buffer *buffer, idx items, idx size, const char *name)
{
    if (items < 0 || buffer->len / size < items) {
        PyErr_Format(PyExc_ValueError, "%s needs %zd items, received a buffer of %zd bytes", name,
                     items, buffer->len);
        return 0;
    }
    if ((uintptr_t)buffer->buf % (uintptr_t)size) {
        PyErr_Format(PyExc_ValueError, "%s is not aligned to %zd bytes", name, size);
        return 0;
    }
    return 1;
}

/* Offsets [n + 1] that rise and stay inside of a blob. */
static int check_offsets(const Py_buffer *buffer, idx blob_len)
{
    const int64_t *offsets = buffer->buf;
    idx n = buffer->len / 8 - 1;
    if (!check_items(buffer, n < 0 ? 1 : n + 1, 8, "offsets"))
        return 0;
    for (idx i = 0; i <= n; i++)
        if (offsets[i] < (i ? offsets[i - 1] : 0) || offsets[i] > blob_len) {
            PyErr_Format(PyExc_ValueError, "offset %zd leaves the blob of %zd bytes", i, blob_len);
            return 0;
        }
    return 1;
}

static int check_row_bytes(idx row_bytes)
{
    if (row_bytes >= 1)
        return 1;
    PyErr_Format(PyExc_ValueError, "row_bytes must be at least 1, received %zd", row_bytes);
    return 0;
}

static int check_range(const Py_buffer *buffer, idx start, idx stop)
{
    if (start >= 0 && start <= stop && stop <= buffer->len)
        return 1;
    PyErr_Format(PyExc_ValueError, "start %zd and stop %zd do not lie in %zd bytes", start, stop,
                 buffer->len);
    return 0;
}

static void release(Py_buffer *buffers, int count)
{
    for (int i = 0; i < count; i++)
        if (buffers[i].obj)
            PyBuffer_Release(&buffers[i]);
}

/* ---- the token index -------------------------------------------------------------------- */

/* Tokens as one blob and offsets [n + 1], found through open addressing with linear probing:
 * slots holds rows, or -1, and its number is a power of two. */
typedef struct {
    const ef_byte *blob;
    const int64_t *offsets;
    int32_t *slots;
    idx blob_len, n, n_slots;
} token_index;

static int index_from(token_index *index, Py_buffer *blob, Py_buffer *offsets, Py_buffer *slots)
{
    index->blob = blob->buf;
    index->blob_len = blob->len;
    index->offsets = offsets->buf;
    index->n = offsets->len / 8 - 1;
    index->slots = slots->buf;
    index->n_slots = slots->len / 4;
    if (index->n < 0 || (index->n_slots & (index->n_slots - 1)) || index->n > INT32_MAX) {
        PyErr_Format(PyExc_ValueError,
                     "an index needs n + 1 offsets and a power of two of slots, received %zd and %zd",
                     index->n + 1, index->n_slots);
        return 0;
    }
    return check_items(offsets, index->n + 1, 8, "offsets") &&
           check_items(slots, index->n_slots, 4, "slots");
}

static inline uint64_t hash_mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 32);
}

/* The hash of version 1: 8 bytes a step, the last ones padded with zeros, the length first. */
static inline __attribute__((always_inline)) uint64_t hash_token(const ef_byte *p, idx len)
{
    uint64_t h = hash_mix(UINT64_C(0x243F6A8885A308D3), (uint64_t)len);
    const ef_byte *end = p + len;
    for (; p < end; p += 8)
        h = hash_mix(h, ef_load8(p, end));
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ (h >> 29);
}

/* Is there a token of row `row`? Offsets of a file are not trusted. */
static inline int index_leads_to_token(const token_index *index, int32_t row)
{
    if (row < 0 || row >= index->n)
        return 0;
    int64_t start = index->offsets[row], stop = index->offsets[row + 1];
    return start >= 0 && stop >= start && stop <= index->blob_len;
}

/* The hash of the token of a row; that of no bytes where the offsets lead to none. */
static inline uint64_t index_hash(const token_index *index, idx row)
{
    if (!index_leads_to_token(index, (int32_t)row))
        return hash_token(index->blob, 0);
    int64_t start = index->offsets[row];
    return hash_token(index->blob + start, (idx)(index->offsets[row + 1] - start));
}

/* Row `row` spells the token? */
static inline int index_is(const token_index *index, int32_t row, const ef_byte *token, idx len)
{
    if (!index_leads_to_token(index, row))
        return 0;
    int64_t start = index->offsets[row];
    return index->offsets[row + 1] - start == len &&
           memcmp(index->blob + start, token, (size_t)len) == 0;
}

/* The slot of a token: where it is, or the free one where it would be; -1 if there is neither. */
static inline idx index_probe(const token_index *index, uint64_t hash, const ef_byte *token,
                              idx len)
{
    idx mask = index->n_slots - 1;
    idx slot = (idx)(hash & (uint64_t)mask);
    for (idx probes = 0; probes <= mask; probes++, slot = (slot + 1) & mask)
        if (index->slots[slot] == -1 || index_is(index, index->slots[slot], token, len))
            return slot;
    return -1;
}

/* The row of a token, or -1; DAMAGED if a slot on its way leads to no token, or none is free. */
enum { DAMAGED = -2 };

static inline int32_t index_row(const token_index *index, uint64_t hash, const ef_byte *token,
                                idx len)
{
    idx mask = index->n_slots - 1;
    idx slot = (idx)(hash & (uint64_t)mask);
    for (idx probes = 0; probes <= mask; probes++, slot = (slot + 1) & mask) {
        int32_t row = index->slots[slot];
        if (row == -1 || index_is(index, row, token, len))
            return row;
        if (!index_leads_to_token(index, row))
            return DAMAGED;
    }
    return index->n_slots ? DAMAGED : -1;
}

/* A slot, the offsets of its row and the token of that lie in three places of memory, each known
 * when the one before it is there: tokens on their way to be looked up pass these stages. */
#define STAGE 8 /* tokens between two stages */
#define ON_THEIR_WAY (4 * STAGE)

typedef struct {
    const token_index *index;
    uint64_t hashes[ON_THEIR_WAY]; /* of token i at i % ON_THEIR_WAY */
} lookahead;

static inline int32_t first_row(const lookahead *ahead, idx i)
{
    uint64_t mask = (uint64_t)(ahead->index->n_slots - 1);
    return ahead->index->slots[ahead->hashes[i % ON_THEIR_WAY] & mask];
}

/* Token i enters with its hash; those before it move on. */
static inline void look_ahead(lookahead *ahead, idx i, uint64_t hash)
{
    const token_index *index = ahead->index;
    ahead->hashes[i % ON_THEIR_WAY] = hash;
    if (!index->n_slots)
        return;
    __builtin_prefetch(index->slots + (hash & (uint64_t)(index->n_slots - 1)));
    if (i >= STAGE) {
        int32_t row = first_row(ahead, i - STAGE);
        if (row >= 0 && row < index->n)
            __builtin_prefetch(index->offsets + row);
    }
    if (i >= 2 * STAGE) {
        int32_t row = first_row(ahead, i - 2 * STAGE);
        if (index_leads_to_token(index, row))
            __builtin_prefetch(index->blob + index->offsets[row]);
    }
}

#define AHEAD (3 * STAGE) /* by which a token enters before it is looked up */

static int check_rows(idx first, idx last, idx n)
{
    if (first >= 0 && first <= last && last <= n)
        return 1;
    PyErr_Format(PyExc_ValueError, "rows %zd to %zd are not rows of %zd tokens", first, last, n);
    return 0;
}

PyDoc_STRVAR(index_insert_doc,
             "index_insert(blob, offsets, slots, first, last, found)\n--\n\n"
             "Insert the rows first to last - 1; found[i] is the earlier row that spells the same\n"
             "token as row first + i, or -1, and that row is then not inserted.");

static PyObject *index_insert(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[4] = {{0}};
    idx first, last;
    token_index index;
    int ok = 0, full = 0;
    if (!PyArg_ParseTuple(args, "y*y*w*nnw*", &b[0], &b[1], &b[2], &first, &last, &b[3]))
        return NULL;
    if (index_from(&index, &b[0], &b[1], &b[2]) && check_rows(first, last, index.n) &&
        check_items(&b[3], last - first, 4, "found")) {
        int32_t *found = b[3].buf;
        lookahead ahead = {&index, {0}};
        Py_BEGIN_ALLOW_THREADS
        for (idx entering = first; entering < last + AHEAD && !full; entering++) {
            if (entering < last)
                look_ahead(&ahead, entering - first, index_hash(&index, entering));
            idx row = entering - AHEAD, slot = -1;
            if (row < first)
                continue;
            if (index_leads_to_token(&index, (int32_t)row)) {
                int64_t start = index.offsets[row];
                slot = index_probe(&index, ahead.hashes[(row - first) % ON_THEIR_WAY],
                                   index.blob + start, (idx)(index.offsets[row + 1] - start));
            }
            if (slot < 0) {
                full = 1;
                break;
            }
            found[row - first] = index.slots[slot];
            if (index.slots[slot] == -1)
                index.slots[slot] = (int32_t)row;
        }
        Py_END_ALLOW_THREADS
        if (full)
            PyErr_SetString(PyExc_ValueError, "offsets leave the blob, or no slot is free");
        ok = !full;
    }
    release(b, 4);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* Does a span (start, length) lie in a buffer? */
static inline int span_lies_in(const int64_t span[2], idx size)
{
    return span[0] >= 0 && span[1] >= 0 && span[0] <= size && span[1] <= size - span[0];
}

PyDoc_STRVAR(index_find_doc,
             "index_find(blob, offsets, slots, buffer, spans, rows)\n--\n\n"
             "rows[i] becomes the row of the token at buffer[spans[i, 0]:][:spans[i, 1]], or -1.\n"
             "False if the index proved damaged: rows from there on are -1.");

static PyObject *index_find(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[6] = {{0}};
    token_index index;
    int ok = 0, sound = 1;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*w*", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]))
        return NULL;
    idx count = b[4].len / 16;
    if (index_from(&index, &b[0], &b[1], &b[2]) && check_items(&b[4], count * 2, 8, "spans") &&
        check_items(&b[5], count, 4, "rows")) {
        const int64_t(*spans)[2] = b[4].buf;
        int32_t *rows = b[5].buf;
        const ef_byte *buffer = b[3].buf;
        lookahead ahead = {&index, {0}};
        Py_BEGIN_ALLOW_THREADS
        for (idx entering = 0; entering < count + AHEAD; entering++) {
            idx i = entering - AHEAD;
            if (entering < count && span_lies_in(spans[entering], b[3].len))
                look_ahead(&ahead, entering,
                           hash_token(buffer + spans[entering][0], (idx)spans[entering][1]));
            if (i < 0)
                continue;
            rows[i] = -1;
            if (sound && span_lies_in(spans[i], b[3].len))
                rows[i] = index_row(&index, ahead.hashes[i % ON_THEIR_WAY], buffer + spans[i][0],
                                    (idx)spans[i][1]);
            if (rows[i] == DAMAGED) {
                rows[i] = -1;
                sound = 0;
            }
        }
        Py_END_ALLOW_THREADS
        ok = 1;
    }
    release(b, 6);
    return ok ? PyBool_FromLong(sound) : NULL;
}

PyDoc_STRVAR(hash_tokens_doc, "hash_tokens(blob, offsets, hashes)\n--\n\n"
                              "hashes[i] (uint64) becomes the hash of token i.");

static PyObject *hash_tokens(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[3] = {{0}};
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*w*", &b[0], &b[1], &b[2]))
        return NULL;
    idx n = b[1].len / 8 - 1;
    if (check_offsets(&b[1], b[0].len) && check_items(&b[2], n, 8, "hashes")) {
        const int64_t *offsets = b[1].buf;
        uint64_t *hashes = b[2].buf;
        const ef_byte *blob = b[0].buf;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < n; i++)
            hashes[i] = hash_token(blob + offsets[i], (idx)(offsets[i + 1] - offsets[i]));
        Py_END_ALLOW_THREADS
        ok = 1;
    }
    release(b, 3);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- tokens ----------------------------------------------------------------------------- */

PyDoc_STRVAR(gather_spans_doc, "gather_spans(buffer, spans, blob)\n--\n\n"
                               "Copy the pieces of buffer at spans [n, 2] (start, length), one after\n"
                               "the other, into blob.");

static PyObject *gather_spans(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[3] = {{0}};
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*w*", &b[0], &b[1], &b[2]))
        return NULL;
    idx count = b[1].len / 16, used = 0;
    if (check_items(&b[1], count * 2, 8, "spans")) {
        const int64_t(*spans)[2] = b[1].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < count && ok; i++) {
            int64_t start = spans[i][0], len = spans[i][1];
            ok = span_lies_in(spans[i], b[0].len) && len <= b[2].len - used;
            if (!ok)
                break;
            if (i + AHEAD < count && span_lies_in(spans[i + AHEAD], b[0].len))
                __builtin_prefetch((const ef_byte *)b[0].buf + spans[i + AHEAD][0]);
            memcpy((ef_byte *)b[2].buf + used, (const ef_byte *)b[0].buf + start, (size_t)len);
            used += (idx)len;
        }
        Py_END_ALLOW_THREADS
        if (!ok)
            PyErr_SetString(PyExc_ValueError, "spans leave the buffer or overflow the blob");
    }
    release(b, 3);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

enum { HEAP_HEADER = 16, REFERENCE = 16, HEAPS = 8, HEAP_INDICES = 1 << 16, HEAP_UNIT = 8 };

/* Where the objects of a heap of HDF5 strings are: by their indices, in units behind its start. */
struct heap {
    uint64_t start, size;
    uint32_t top, *units;
};

static inline uint64_t little(const ef_byte *p, int bytes)
{
    uint64_t value = 0;
    memcpy(&value, p, (size_t)bytes); /* the hosts that we build for are little-endian */
    return value;
}

/* The bytes of an object whose header is at `at` in a heap, or -1 where it leaves the heap. */
static inline int64_t object_bytes(const ef_byte *file, const struct heap *heap, uint64_t at)
{
    uint64_t size = little(file + heap->start + at + 8, 8);
    return size <= heap->size - at - HEAP_HEADER ? (int64_t)size : -1;
}

/* Look at all objects of the heap at `start`; those behind a damaged one are not found. */
static int open_heap(const Py_buffer *file, struct heap *heap, uint64_t start, int64_t *looks)
{
    const ef_byte *base = file->buf;
    memset(heap->units, 0, (heap->top + 1) * sizeof *heap->units);
    heap->start = heap->top = 0;
    if (start > (uint64_t)file->len || (uint64_t)file->len - start < HEAP_HEADER ||
        memcmp(base + start, "GCOL\1", 5))
        return 0;
    heap->size = little(base + start + 8, 8);
    if (heap->size < HEAP_HEADER || heap->size > (uint64_t)file->len - start)
        return 0;
    heap->start = start;
    for (uint64_t at = HEAP_HEADER; at <= heap->size - HEAP_HEADER && --*looks >= 0;) {
        uint32_t index = (uint32_t)little(base + start + at, 2);
        int64_t size = object_bytes(base, heap, at);
        if (!index || size < 0 || at / HEAP_UNIT > UINT32_MAX)
            break;
        heap->units[index] = (uint32_t)(at / HEAP_UNIT);
        heap->top = index > heap->top ? index : heap->top;
        at += HEAP_HEADER + (((uint64_t)size + HEAP_UNIT - 1) & ~(uint64_t)(HEAP_UNIT - 1));
    }
    return 1;
}

/* The object that a reference (length, heap, index) leads to: 0 unless all is as it must be. */
static int heap_string(const Py_buffer *file, const ef_byte *reference, struct heap *heaps,
                       int64_t *looks, int64_t *span)
{
    uint64_t length = little(reference, 4), start = little(reference + 4, 8);
    uint64_t index = little(reference + 12, 4);
    span[0] = span[1] = 0;
    if (!start)
        return !length;
    struct heap *heap = &heaps[start / 4096 % HEAPS];
    if (heap->start != start && !open_heap(file, heap, start, looks))
        return 0;
    if (index >= HEAP_INDICES || !heap->units[index] || *looks < 0)
        return 0;
    uint64_t at = (uint64_t)heap->units[index] * HEAP_UNIT;
    if (object_bytes(file->buf, heap, at) != (int64_t)length)
        return 0;
    span[0] = (int64_t)(start + at + HEAP_HEADER);
    const ef_byte *text = (const ef_byte *)file->buf + span[0], *nul = memchr(text, 0, length);
    span[1] = nul ? nul - text : (int64_t)length; /* as the library hands them out */
    return 1;
}

PyDoc_STRVAR(find_heap_strings_doc,
             "find_heap_strings(buffer, references, spans)\n--\n\n"
             "Write to spans [n, 2] where the strings of an HDF5 file stand, whose references have\n"
             "16 bytes each. False where one does not lead to a string, or the way is too long.");

static PyObject *find_heap_strings(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[3] = {{0}};
    int ok = 0, found = 0;
    if (!PyArg_ParseTuple(args, "y*y*w*", &b[0], &b[1], &b[2]))
        return NULL;
    idx count = b[1].len / REFERENCE;
    uint32_t *units = PyMem_Calloc(HEAPS * HEAP_INDICES, sizeof *units); /* used where needed */
    if (!units)
        PyErr_NoMemory();
    else if (check_items(&b[1], count * REFERENCE, 1, "references") &&
        check_items(&b[2], count * 2, 8, "spans")) {
        int64_t(*spans)[2] = b[2].buf, looks = b[0].len / HEAP_HEADER + count;
        struct heap heaps[HEAPS] = {{0}};
        for (int i = 0; i < HEAPS; i++)
            heaps[i].units = units + i * HEAP_INDICES;
        ok = found = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < count && found; i++)
            found = heap_string(&b[0], (const ef_byte *)b[1].buf + i * REFERENCE, heaps, &looks,
                                spans[i]);
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(units);
    release(b, 3);
    return ok ? PyBool_FromLong(found) : NULL;
}

/* Is [p, end) UTF-8 (RFC 3629: shortest form, no surrogates, at most U+10FFFF)? */
static int is_utf8(const ef_byte *p, const ef_byte *end)
{
    while (p < end) {
        ef_byte c = *p++;
        if (c < 0x80)
            continue;
        int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
        if (c < 0xC2 || c > 0xF4 || end - p < more)
            return 0;
        ef_byte low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
        ef_byte high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        if (*p < low || *p > high)
            return 0;
        for (int i = 1; i < more; i++)
            if ((p[i] & 0xC0) != 0x80)
                return 0;
        p += more;
    }
    return 1;
}

PyDoc_STRVAR(first_not_utf8_doc, "first_not_utf8(blob, offsets)\n--\n\n"
                                 "The first token that is not UTF-8, or -1.");

static PyObject *first_not_utf8(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[2] = {{0}};
    idx result = -1;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*", &b[0], &b[1]))
        return NULL;
    idx n = b[1].len / 8 - 1;
    if (check_offsets(&b[1], b[0].len)) {
        const int64_t *offsets = b[1].buf;
        const ef_byte *blob = b[0].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < n; i++)
            if (!is_utf8(blob + offsets[i], blob + offsets[i + 1])) {
                result = i;
                break;
            }
        Py_END_ALLOW_THREADS
    }
    release(b, 2);
    return ok ? PyLong_FromSsize_t(result) : NULL;
}

/* ---- text: lines ------------------------------------------------------------------------- */

PyDoc_STRVAR(count_lines_doc, "count_lines(buffer, start, stop)\n--\n\n"
                              "Number of line feeds in buffer[start:stop].");

static PyObject *count_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[1] = {{0}};
    idx start, stop, count = 0;
    if (!PyArg_ParseTuple(args, "y*nn", &b[0], &start, &stop))
        return NULL;
    if (!check_range(&b[0], start, stop)) {
        release(b, 1);
        return NULL;
    }
    const ef_byte *p = (const ef_byte *)b[0].buf + start, *end = (const ef_byte *)b[0].buf + stop;
    Py_BEGIN_ALLOW_THREADS
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        count++;
        p++;
    }
    Py_END_ALLOW_THREADS
    release(b, 1);
    return PyLong_FromSsize_t(count);
}

/* The first of two bytes at or after p, or end. */
static inline const ef_byte *find_either(const ef_byte *p, const ef_byte *end, ef_byte c, ef_byte d)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    for (; end - p >= 8; p += 8) {
        uint64_t word = ef_load8(p, end);
        uint64_t x = word ^ (ones * c), y = word ^ (ones * d);
        uint64_t hit = (((x - ones) & ~x) | ((y - ones) & ~y)) & highs;
        if (hit)
            return p + (__builtin_ctzll(hit) >> 3);
    }
    while (p < end && *p != c && *p != d)
        p++;
    return p;
}

PyDoc_STRVAR(find_lines_doc,
             "find_lines(buffer, start, stop, delimiter, blob, offsets, slots, starts)\n--\n\n"
             "Starts (int64) of the lines in buffer[start:stop], which begins with a line. With a\n"
             "token index, only of those whose text before the first delimiter is in it. Returns\n"
             "(lines written, where to go on): less than stop if starts is full.");

static PyObject *find_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[5] = {{0}};
    idx start, stop, written = 0;
    int delimiter, ok = 0;
    token_index index;
    if (!PyArg_ParseTuple(args, "y*nniy*y*y*w*", &b[0], &start, &stop, &delimiter, &b[1], &b[2],
                          &b[3], &b[4]))
        return NULL;
    idx room = b[4].len / 8;
    const ef_byte *base = b[0].buf, *p = base;
    if (check_range(&b[0], start, stop) && index_from(&index, &b[1], &b[2], &b[3]) &&
        check_items(&b[4], room, 8, "starts")) {
        const ef_byte *end = base + stop;
        p = base + start;
        int64_t *starts = b[4].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        while (p < end && written < room) {
            const ef_byte *cut = p;
            if (index.n_slots) {
                cut = find_either(p, end, (ef_byte)delimiter, '\n');
                if (index_row(&index, hash_token(p, cut - p), p, cut - p) >= 0)
                    starts[written++] = p - base;
            } else {
                starts[written++] = p - base;
            }
            p = memchr(cut, '\n', (size_t)(end - cut));
            p = p ? p + 1 : end;
        }
        Py_END_ALLOW_THREADS
    }
    release(b, 5);
    return ok ? Py_BuildValue("nn", written, (idx)(p - base)) : NULL;
}

/* ---- text: tokens ------------------------------------------------------------------------ */

/* What a byte becomes, if it is not a byte of a token: these three never are. */
enum { SEPARATES = ' ', DELETED = '\n', ODD = '\t' };

PyDoc_STRVAR(cut_tokens_doc,
             "cut_tokens(text, start, fold, folded, spans, odd)\n--\n\n"
             "Cut text[start:] into tokens: byte c becomes fold[c], where a space separates, a line\n"
             "feed deletes, and a tab has a piece between separators left to the caller. Spans\n"
             "(start, length) of tokens in folded, and of pieces left, with their separators, in\n"
             "text. Returns (tokens, pieces left, where to go on), which is less than the size of\n"
             "the text if spans or odd are full.");

static PyObject *cut_tokens(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[5] = {{0}};
    idx start, tokens = 0, left = 0;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*ny*w*w*w*", &b[0], &start, &b[1], &b[2], &b[3], &b[4]))
        return NULL;
    idx size = b[0].len, room = b[3].len / 16, odd_room = b[4].len / 16, at = start;
    if (check_range(&b[0], start, size) && check_items(&b[1], 256, 1, "fold") &&
        check_items(&b[2], size, 1, "folded") && check_items(&b[3], room * 2, 8, "spans") &&
        check_items(&b[4], odd_room * 2, 8, "odd")) {
        const ef_byte *text = b[0].buf, *fold = b[1].buf;
        ef_byte *folded = b[2].buf;
        int64_t(*spans)[2] = b[3].buf, (*odd)[2] = b[4].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        while (at < size && tokens < room && left < odd_room) {
            idx first = at, to = at;
            int is_odd = 0;
            ef_byte c = 0;
            while (at < size && (c = fold[text[at++]]) != SEPARATES) {
                folded[to] = c;
                to += c != DELETED;
                is_odd |= c == ODD;
            }
            int64_t *span = is_odd ? odd[left] : spans[tokens];
            span[0] = first;
            span[1] = is_odd ? at - first : to - first;
            left += is_odd;
            tokens += !is_odd && to > first;
        }
        Py_END_ALLOW_THREADS
    }
    release(b, 5);
    return ok ? Py_BuildValue("nnn", tokens, left, at) : NULL;
}

/* ---- text: rows -------------------------------------------------------------------------- */

typedef struct {
    const ef_byte *p, *end;
    float *value;
} inexact_number;

#define MAX_INEXACT 256

/* What a worker carries: the window, the shape, and the numbers left for later. */
typedef struct {
    const ef_byte *base, *stop; /* of the window */
    const ef_byte *line_stop;   /* where the line ends at the latest: the file may be cut by now */
    idx dim;
    ef_byte delimiter;
    int failed; /* a Python error is set */
    int n_inexact;
    inexact_number inexact[MAX_INEXACT];
    PyThreadState *thread; /* while the GIL is released */
} row_parser;

/* Why a row is bad; spans hold -reason and a detail. Kept in step with formats/badrow.py. */
enum bad_row { TOO_FEW = 1, NOT_A_NUMBER = 2 };

static int round_one(const inexact_number *number)
{
    size_t len = (size_t)(number->end - number->p);
    char *text = PyMem_Malloc(len + 1);
    if (!text) {
        PyErr_NoMemory();
        return 0;
    }
    memcpy(text, number->p, len);
    text[len] = 0;
    double value = PyOS_string_to_double(text, NULL, NULL);
    PyMem_Free(text);
    *number->value = (float)value;
    return !(value == -1.0 && PyErr_Occurred());
}

/* Take the GIL, round what the fast path could not, and release it again. */
static void round_inexact(row_parser *parser)
{
    PyEval_RestoreThread(parser->thread);
    for (int i = 0; i < parser->n_inexact && !parser->failed; i++)
        parser->failed = !round_one(&parser->inexact[i]);
    parser->n_inexact = 0;
    parser->thread = PyEval_SaveThread();
}

static inline int is_line_end(const ef_byte *p, const row_parser *parser)
{
    if (p < parser->stop && *p == parser->delimiter)
        p++;
    if (p < parser->stop && *p == '\r')
        p++;
    return p >= parser->stop || *p == '\n';
}

/* A row as nearly all are: token, then dim numbers in the usual spelling; 0 if it is not, or lies
 * at the very end of the window. Finding the ends of the fields first leaves the numbers
 * independent of each other, so that the processor reads several at once. */
static inline int parse_usual_row(const row_parser *parser, const ef_byte *p, float *out,
                                  int64_t *span)
{
    const ef_byte *token = p;
    p = find_either(p, parser->line_stop, parser->delimiter, '\n');
    span[0] = token - parser->base;
    span[1] = p - token;
    if (p >= parser->line_stop || *p != parser->delimiter)
        return 0;
    const ef_byte *field = p + 1;
    idx i = 0;
    for (p = field; parser->stop - p >= EF_BLOCK + EF_LOOKAHEAD; p += EF_BLOCK)
        for (uint64_t ends = ef_field_ends(p, parser->delimiter); ends; ends &= ends - 1) {
            const ef_byte *end = p + __builtin_ctzll(ends);
            if (!ef_read_usual(field, end, out + i))
                return 0;
            if (++i == parser->dim)
                return is_line_end(end, parser);
            if (*end != parser->delimiter)
                return 0;
            field = end + 1;
        }
    return 0;
}

/* The end of the values of the line at p: before its line end and one delimiter. */
static inline const ef_byte *row_end(const row_parser *parser, const ef_byte *p)
{
    const ef_byte *end = memchr(p, '\n', (size_t)(parser->line_stop - p));
    if (!end)
        end = parser->line_stop;
    if (end > p && end[-1] == '\r')
        end--;
    if (end > p && end[-1] == parser->delimiter)
        end--;
    return end;
}

/* One field of any spelling; what cannot be rounded here is put on the list. */
static inline int parse_field(row_parser *parser, const ef_byte *p, const ef_byte *end, float *out)
{
    enum ef_status status = ef_read_field(p, end, out);
    if (status == EF_INEXACT) {
        if (parser->n_inexact == MAX_INEXACT)
            round_inexact(parser);
        inexact_number number = {p, end, out};
        parser->inexact[parser->n_inexact++] = number;
    }
    return status != EF_BAD;
}

/* Any row: the last dim fields are the vector, what stands before them is the token. */
static void parse_any_row(row_parser *parser, const ef_byte *p, float *out, int64_t *span)
{
    const ef_byte *field = row_end(parser, p);
    for (idx i = parser->dim - 1; i >= 0; i--) {
        const ef_byte *field_end = field;
        while (field > p && field[-1] != parser->delimiter)
            field--;
        int missing = field == p;
        if (missing || !parse_field(parser, field, field_end, out + i)) {
            span[0] = missing ? -TOO_FEW : -NOT_A_NUMBER;
            span[1] = parser->dim - 1 - i;
            return;
        }
        field--;
    }
    span[0] = p - parser->base;
    span[1] = field - p;
}

/* Where the first of two lines ends at the latest: before the second, where a line feed says so, or
 * the zero that a cut file has in its place. */
static inline const ef_byte *line_limit(const row_parser *parser, const int64_t *starts)
{
    const ef_byte *next = parser->base + starts[1];
    int is_end = starts[1] > starts[0] && (next[-1] == '\n' || next[-1] == 0);
    return is_end ? next : parser->stop;
}

/* Parse the lines at starts; the number of bad ones, or -1 with a Python error set. Called and
 * left without the GIL. Rows that are not as nearly all are get a mark in unusual, if it is there:
 * no other has a value that is not finite. */
static idx parse_lines(row_parser *parser, const int64_t *starts, idx rows, float *values,
                       int64_t (*spans)[2], ef_byte *unusual)
{
    idx bad = 0;
    for (idx i = 0; i < rows && !parser->failed; i++) {
        const ef_byte *line = parser->base + starts[i];
        float *out = values + i * parser->dim;
        parser->line_stop = i + 1 < rows ? line_limit(parser, starts + i) : parser->stop;
        if (!parse_usual_row(parser, line, out, spans[i])) {
            parse_any_row(parser, line, out, spans[i]);
            bad += spans[i][0] < 0;
            if (unusual)
                unusual[i] = 1;
        }
    }
    if (parser->n_inexact)
        round_inexact(parser);
    return bad;
}

static int check_starts(const int64_t *starts, idx rows, idx stop)
{
    for (idx i = 0; i < rows; i++)
        if (starts[i] < 0 || starts[i] >= stop) {
            PyErr_Format(PyExc_ValueError, "row %zd does not start before byte %zd", i, stop);
            return 0;
        }
    return 1;
}

PyDoc_STRVAR(parse_rows_doc,
             "parse_rows(buffer, stop, delimiter, dim, starts, values, spans, unusual=...)\n--\n\n"
             "Parse the lines that begin at starts [n] and end before stop: values [n, dim] (float32)\n"
             "and spans [n, 2] (int64: start and length of the token). A bad row has -1 (too few\n"
             "fields) or -2 (not a number) and the number of good fields counted from the right.\n"
             "unusual [n] (bytes) becomes 1 for rows that alone may hold nan or inf.\n"
             "Returns the number of bad rows.");

static PyObject *parse_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[5] = {{0}};
    idx stop, dim, bad = 0;
    int delimiter, ok = 0;
    if (!PyArg_ParseTuple(args, "y*niny*w*w*|w*", &b[0], &stop, &delimiter, &dim, &b[1], &b[2],
                          &b[3], &b[4]))
        return NULL;
    idx rows = b[1].len / 8;
    if (dim < 1 || dim > PY_SSIZE_T_MAX / 4 / (rows ? rows : 1))
        PyErr_Format(PyExc_ValueError, "dim must be at least 1, received %zd", dim);
    else if (check_range(&b[0], 0, stop) && check_items(&b[1], rows, 8, "starts") &&
             check_items(&b[2], rows * dim, 4, "values") &&
             check_items(&b[3], rows * 2, 8, "spans") &&
             (!b[4].buf || check_items(&b[4], rows, 1, "unusual")) &&
             check_starts(b[1].buf, rows, stop)) {
        const ef_byte *base = b[0].buf;
        const ef_byte *end = base + stop;
        row_parser parser = {base, end, end, dim, (ef_byte)delimiter, 0, 0, {{0}}, NULL};
        parser.thread = PyEval_SaveThread();
        bad = parse_lines(&parser, b[1].buf, rows, b[2].buf, b[3].buf, b[4].buf);
        PyEval_RestoreThread(parser.thread);
        ok = !parser.failed;
    }
    release(b, 5);
    return ok ? PyLong_FromSsize_t(bad) : NULL;
}

PyDoc_STRVAR(is_number_doc, "is_number(field)\n--\n\nIs a whole field a number of the grammar?");

static PyObject *is_number(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[1] = {{0}};
    float value;
    if (!PyArg_ParseTuple(args, "y*", &b[0]))
        return NULL;
    const ef_byte *p = b[0].buf;
    int good = ef_read_field(p, p + b[0].len, &value) != EF_BAD;
    release(b, 1);
    return PyBool_FromLong(good);
}

/* ---- word2vec binary --------------------------------------------------------------------- */

#define RECORDS_AHEAD 8 /* records of which the start is asked for early */

/* The space that ends the token of the record at *p, after leading line feeds; NULL if none. */
static inline const ef_byte *record_space(const ef_byte **p, const ef_byte *end)
{
    while (*p < end && **p == '\n')
        ++*p;
    const ef_byte *space = find_either(*p, end, ' ', ' ');
    return space < end ? space : NULL;
}

PyDoc_STRVAR(find_records_doc,
             "find_records(buffer, start, until, row_bytes, limit, blob, offsets, slots, spans)\n--\n\n"
             "Walk the word2vec records of buffer that begin in [start, until), at most limit of\n"
             "them: spans [n, 2] of their tokens; the values follow one byte after a token. With a\n"
             "token index, only tokens in it are written. Returns (records walked, spans written,\n"
             "where to go on): a record that the buffer does not hold whole is not walked, and the\n"
             "walk stops where spans is full.");

static PyObject *find_records(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[5] = {{0}};
    idx start, until, row_bytes, limit, walked = 0, written = 0;
    token_index index;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*nnnny*y*y*w*", &b[0], &start, &until, &row_bytes, &limit, &b[1],
                          &b[2], &b[3], &b[4]))
        return NULL;
    idx room = b[4].len / 16;
    const ef_byte *base = b[0].buf, *p = base;
    if (check_range(&b[0], start, until) && check_row_bytes(row_bytes) &&
        index_from(&index, &b[1], &b[2], &b[3]) && check_items(&b[4], room * 2, 8, "spans")) {
        const ef_byte *end = base + b[0].len;
        p = base + start;
        int64_t(*spans)[2] = b[4].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        while (p < base + until && walked < limit && written < room) {
            const ef_byte *token = p, *space = record_space(&token, end);
            if (!space || end - space - 1 < row_bytes)
                break;
            /* Tokens lie far apart, and each waits for memory: ask for later ones early, where
             * they would be if all were as long as those walked so far. */
            const ef_byte *later = p + RECORDS_AHEAD * ((p - base - start) / (walked ? walked : 1));
            if (end - later > 128) {
                __builtin_prefetch(later - 32);
                __builtin_prefetch(later + 32);
            }
            idx length = space - token;
            if (!index.n_slots ||
                index_row(&index, hash_token(token, length), token, length) >= 0) {
                spans[written][0] = token - base;
                spans[written++][1] = length;
            }
            walked++;
            p = space + 1 + row_bytes;
        }
        Py_END_ALLOW_THREADS
    }
    release(b, 5);
    return ok ? Py_BuildValue("nnn", walked, written, (idx)(p - base)) : NULL;
}

#define CHAIN 8       /* records in a row that make a guess worth trying */
#define LONG_TOKEN 256 /* a guess does not look for the space of a longer one */

/* Do CHAIN plausible records begin at p? */
static int is_chain(const ef_byte *p, const ef_byte *end, idx row_bytes)
{
    for (int i = 0; i < CHAIN; i++) {
        const ef_byte *near = end - p > LONG_TOKEN ? p + LONG_TOKEN : end;
        const ef_byte *space = record_space(&p, near);
        if (!space || space == p || end - space - 1 < row_bytes || !is_utf8(p, space))
            return 0;
        for (; p < space; p++)
            if (*p < 0x20)
                return 0;
        p = space + 1 + row_bytes;
    }
    return 1;
}

PyDoc_STRVAR(guess_record_doc,
             "guess_record(buffer, start, row_bytes)\n--\n\n"
             "Where after start a word2vec record probably ends, or -1. Only a walk that arrives\n"
             "there proves it.");

static PyObject *guess_record(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[1] = {{0}};
    idx start, row_bytes, result = -1;
    if (!PyArg_ParseTuple(args, "y*nn", &b[0], &start, &row_bytes))
        return NULL;
    if (!check_range(&b[0], start, b[0].len) || !check_row_bytes(row_bytes)) {
        release(b, 1);
        return NULL;
    }
    const ef_byte *base = b[0].buf, *p = base + start, *end = base + b[0].len;
    const ef_byte *last = (end - p) / 4 > row_bytes ? p + 4 * row_bytes : end;
    Py_BEGIN_ALLOW_THREADS
    /* Behind the space of a token stands a vector, and behind that the record looked for. */
    for (; p < last && (p = memchr(p, ' ', (size_t)(last - p))); p++)
        if (end - p - 1 > row_bytes && is_chain(p + 1 + row_bytes, end, row_bytes)) {
            result = p + 1 + row_bytes - base;
            break;
        }
    Py_END_ALLOW_THREADS
    release(b, 1);
    return PyLong_FromSsize_t(result);
}

/* Is no float32 of these bytes NaN or infinite? */
static inline int all_finite(const ef_byte *p, idx bytes)
{
    const uint32_t exponent = UINT32_C(0x7F800000);
    uint32_t special = 0;
    for (idx i = 0; i + 4 <= bytes; i += 4) {
        uint32_t word;
        memcpy(&word, p + i, 4);
        special |= (word & exponent) == exponent;
    }
    return !special;
}

PyDoc_STRVAR(copy_rows_doc, "copy_rows(buffer, spans, values)\n--\n\n"
                            "Copy to values the bytes that stand one byte after each span [n, 2]; all\n"
                            "rows are of one size. As float32, are they all finite?");

static PyObject *copy_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[3] = {{0}};
    int ok = 0, finite = 1;
    if (!PyArg_ParseTuple(args, "y*y*w*", &b[0], &b[1], &b[2]))
        return NULL;
    idx count = b[1].len / 16;
    if (check_items(&b[1], count * 2, 8, "spans")) {
        const int64_t(*spans)[2] = b[1].buf;
        idx row_bytes = count ? b[2].len / count : 0;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < count && ok; i++) {
            int64_t start = spans[i][0], len = spans[i][1], last = b[0].len - row_bytes - 1;
            ok = start >= 0 && len >= 0 && start <= last && len <= last - start;
            if (ok) {
                ef_byte *row = (ef_byte *)b[2].buf + i * row_bytes;
                memcpy(row, (const ef_byte *)b[0].buf + start + len + 1, (size_t)row_bytes);
                finite &= all_finite(row, row_bytes); /* while they are in the cache */
            }
        }
        Py_END_ALLOW_THREADS
        if (!ok)
            PyErr_SetString(PyExc_ValueError, "spans leave the buffer");
    }
    release(b, 3);
    return ok ? PyBool_FromLong(finite) : NULL;
}

PyDoc_STRVAR(are_finite_doc, "are_finite(values)\n--\n\n"
                             "Are float32 values all neither NaN nor infinite?");

static PyObject *are_finite(PyObject *Py_UNUSED(module), PyObject *values)
{
    Py_buffer b;
    int finite;
    if (PyObject_GetBuffer(values, &b, PyBUF_SIMPLE))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    finite = all_finite(b.buf, b.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&b);
    return PyBool_FromLong(finite);
}

PyDoc_STRVAR(scatter_rows_doc,
             "scatter_rows(source, rows, target, ids, row_bytes)\n--\n\n"
             "Copy row rows[i] of source to row ids[i] of target (rows and ids int64 [n]).");

static PyObject *scatter_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[4] = {{0}};
    idx row_bytes;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*w*y*n", &b[0], &b[1], &b[2], &b[3], &row_bytes))
        return NULL;
    idx count = b[1].len / 8;
    if (check_row_bytes(row_bytes) && check_items(&b[1], count, 8, "rows") &&
        check_items(&b[3], count, 8, "ids")) {
        const int64_t *rows = b[1].buf, *ids = b[3].buf;
        int64_t n_rows = b[0].len / row_bytes, n_ids = b[2].len / row_bytes;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < count && ok; i++) {
            ok = rows[i] >= 0 && rows[i] < n_rows && ids[i] >= 0 && ids[i] < n_ids;
            if (ok)
                memcpy((ef_byte *)b[2].buf + ids[i] * row_bytes,
                       (const ef_byte *)b[0].buf + rows[i] * row_bytes, (size_t)row_bytes);
        }
        Py_END_ALLOW_THREADS
        if (!ok)
            PyErr_SetString(PyExc_ValueError, "rows leave the source, or ids the target");
    }
    release(b, 4);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pool_rows_doc,
             "pool_rows(values, dim, ids, row_splits, weights, how, pooled)\n--\n\n"
             "Sums (how 0) or maxima (how 1) of float32 rows, in the order of the ids (int32): row\n"
             "i of pooled is that of the ids row_splits[i] to row_splits[i + 1] - 1 (int64 [n + 1]),\n"
             "zeros without any. Where there are weights, a float32 for each row of values, rows\n"
             "are multiplied by theirs first.");

/* A NaN is the maximum, as NumPy has it. */
static inline float higher(float a, float b)
{
    return a >= b || a != a ? a : b;
}

static void pool_row(float *pooled, const float *row, idx dim, const float *weight, int first,
                     int how)
{
    float w = weight ? *weight : 1;
    if (how && first)
        for (idx j = 0; j < dim; j++)
            pooled[j] = row[j] * w;
    else if (how)
        for (idx j = 0; j < dim; j++)
            pooled[j] = higher(pooled[j], row[j] * w);
    else
        for (idx j = 0; j < dim; j++)
            pooled[j] += row[j] * w;
}

static PyObject *pool_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[5] = {{0}};
    idx dim;
    int how, ok = 0;
    if (!PyArg_ParseTuple(args, "y*ny*y*y*iw*", &b[0], &dim, &b[1], &b[2], &b[3], &how, &b[4]))
        return NULL;
    idx texts = b[2].len / 8 - 1, n_ids = b[1].len / 4;
    idx rows = dim < 1 || dim > PY_SSIZE_T_MAX / 8 ? -1 : b[0].len / 4 / dim;
    if (rows < 0)
        PyErr_Format(PyExc_ValueError, "dim must be at least 1, received %zd", dim);
    else if (check_items(&b[0], rows * dim, 4, "values") && check_items(&b[1], n_ids, 4, "ids") &&
             check_offsets(&b[2], n_ids) &&
             (!b[3].len || check_items(&b[3], rows, 4, "weights")) &&
             check_items(&b[4], texts > PY_SSIZE_T_MAX / dim ? -1 : texts * dim, 4, "pooled")) {
        const float *values = b[0].buf, *weights = b[3].len ? b[3].buf : NULL;
        const int32_t *ids = b[1].buf;
        const int64_t *splits = b[2].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < texts && ok; i++) {
            float *pooled = (float *)b[4].buf + i * dim;
            memset(pooled, 0, (size_t)dim * sizeof *pooled);
            for (int64_t k = splits[i]; k < splits[i + 1]; k++) {
                ok = ids[k] >= 0 && ids[k] < rows;
                if (!ok)
                    break;
                pool_row(pooled, values + (idx)ids[k] * dim, dim, weights ? weights + ids[k] : NULL,
                         k == splits[i], how);
            }
        }
        Py_END_ALLOW_THREADS
        if (!ok)
            PyErr_SetString(PyExc_ValueError, "an id has no row");
    }
    release(b, 5);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* `near` in `digits` digits at out, and the end of it; out itself where that does not read back to
 * `value`, NULL with a Python error set. Needs the GIL. */
static char *write_digits(char *out, double near, float value, int digits)
{
    char *text = PyOS_double_to_string(near, 'e', digits - 1, 0, NULL);
    if (!text)
        return NULL;
    double back = PyOS_string_to_double(text, NULL, NULL);
    size_t len = (float)back == value ? strlen(text) : 0;
    memcpy(out, text, len);
    PyMem_Free(text);
    return out + len;
}

/* A value that ef_write_float leaves to us: the fewest digits that read back, by the runtime's own
 * correctly rounded conversions. Above a power of two lie the decimals that read back to it twice
 * as far off as below: the nearest may not be one of them where the next larger one is. */
static char *write_unusual(char *out, float value)
{
    for (int digits = 1; digits <= 9; digits++)
        for (int i = 0; i < 2; i++) {
            char *after = write_digits(out, value * (1 + i * 0x1p-25), value, digits);
            if (after != out)
                return after;
        }
    PyErr_SetString(PyExc_SystemError, "nine digits do not read back");
    return NULL;
}

PyDoc_STRVAR(format_rows_doc,
             "format_rows(blob, offsets, values, dim, delimiter, text)\n--\n\n"
             "Write rows as text: token, dim values in the fewest digits that read back bit-equal,\n"
             "a line feed. Returns the length used of text, which must hold the tokens and\n"
             "rows * (dim * 17 + 1) bytes.");

static idx text_bound(const int64_t *offsets, idx rows, idx dim)
{
    return (rows ? (idx)(offsets[rows] - offsets[0]) : 0) + rows * (dim * (EF_MAX_TEXT + 1) + 1);
}

/* The values of a row, each after a delimiter, and a line feed; NULL with a Python error set. What
 * is written behind the first `spilling` of them must be covered by others. */
static char *write_values(char *out, const float *values, idx dim, idx spilling, char delimiter,
                          PyThreadState **thread)
{
    for (idx i = 0; i < dim; i++) {
        *out++ = delimiter;
        char *after = ef_write_float(out, values[i], i < spilling);
        if (!after) {
            PyEval_RestoreThread(*thread);
            after = write_unusual(out, values[i]);
            *thread = PyEval_SaveThread();
            if (!after)
                return NULL;
        }
        out = after;
    }
    *out++ = '\n';
    return out;
}

static PyObject *format_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[4] = {{0}};
    idx dim, used = 0;
    int delimiter, ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*y*niw*", &b[0], &b[1], &b[2], &dim, &delimiter, &b[3]))
        return NULL;
    idx rows = b[1].len / 8 - 1;
    if (dim < 1 || dim > PY_SSIZE_T_MAX / 32 / (rows > 0 ? rows : 1))
        PyErr_Format(PyExc_ValueError, "dim must be at least 1, received %zd", dim);
    else if (check_offsets(&b[1], b[0].len) && check_items(&b[2], rows * dim, 4, "values") &&
             check_items(&b[3], text_bound(b[1].buf, rows, dim), 1, "text")) {
        const int64_t *offsets = b[1].buf;
        const float *values = b[2].buf;
        char *out = b[3].buf;
        PyThreadState *thread = PyEval_SaveThread();
        for (idx i = 0; i < rows && out; i++) {
            size_t len = (size_t)(offsets[i + 1] - offsets[i]);
            memcpy(out, (const char *)b[0].buf + offsets[i], len);
            idx before_last = rows * dim - EF_SPILL / 2; /* each of the last has two bytes or more */
            out = write_values(out + len, values + i * dim, dim, before_last - i * dim,
                               (char)delimiter, &thread);
        }
        PyEval_RestoreThread(thread);
        ok = out != NULL;
        used = ok ? out - (char *)b[3].buf : 0;
    }
    release(b, 4);
    return ok ? PyLong_FromSsize_t(used) : NULL;
}

PyDoc_STRVAR(format_records_doc,
             "format_records(blob, offsets, values, row_bytes, records)\n--\n\n"
             "Write word2vec records: token, a space, the row_bytes of its values, a line feed.");

static PyObject *format_records(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[4] = {{0}};
    idx row_bytes;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*y*nw*", &b[0], &b[1], &b[2], &row_bytes, &b[3]))
        return NULL;
    idx rows = b[1].len / 8 - 1;
    const int64_t *offsets = b[1].buf;
    if (row_bytes > PY_SSIZE_T_MAX / 4 / (rows > 0 ? rows : 1))
        PyErr_Format(PyExc_ValueError, "row_bytes %zd is too large", row_bytes);
    else if (check_row_bytes(row_bytes) && check_offsets(&b[1], b[0].len) &&
             check_items(&b[2], rows * row_bytes, 1, "values") &&
             check_items(&b[3], offsets[rows] - offsets[0] + rows * (row_bytes + 2), 1, "records")) {
        const ef_byte *blob = b[0].buf, *values = b[2].buf;
        ef_byte *out = b[3].buf;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < rows; i++) {
            size_t len = (size_t)(offsets[i + 1] - offsets[i]);
            memcpy(out, blob + offsets[i], len);
            out += len;
            *out++ = ' ';
            memcpy(out, values + i * row_bytes, (size_t)row_bytes);
            out += row_bytes;
            *out++ = '\n';
        }
        Py_END_ALLOW_THREADS
        ok = 1;
    }
    release(b, 4);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- vectors from n-grams ---------------------------------------------------------------- */

PyDoc_STRVAR(find_entries_doc,
             "find_entries(buffer, start, tail, spans)\n--\n\n"
             "Walk entries of a token, a NUL byte and `tail` bytes. Writes the spans (start, length)\n"
             "of as many tokens as spans [n, 2] has room for; returns (entries found, where they end).");

static PyObject *find_entries(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[2] = {{0}};
    idx start, tail, found = 0;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*nnw*", &b[0], &start, &tail, &b[1]))
        return NULL;
    idx room = b[1].len / 16;
    if (check_range(&b[0], start, b[0].len) && check_items(&b[1], room * 2, 8, "spans")) {
        const ef_byte *base = b[0].buf, *end = base + b[0].len, *p = base + start;
        int64_t(*spans)[2] = b[1].buf;
        ok = tail >= 0;
        Py_BEGIN_ALLOW_THREADS
        while (ok && found < room && p < end) {
            const ef_byte *nul = memchr(p, 0, (size_t)(end - p));
            if (!nul || end - nul - 1 < tail)
                break;
            spans[found][0] = p - base;
            spans[found++][1] = nul - p;
            p = nul + 1 + tail;
        }
        Py_END_ALLOW_THREADS
        start = p - base;
        if (!ok)
            PyErr_Format(PyExc_ValueError, "tail must not be negative, received %zd", tail);
    }
    release(b, 2);
    return ok ? Py_BuildValue("nn", found, start) : NULL;
}

/* Float32 rows that stand in a buffer from a byte on, at any address. */
static int dense_matrix(ef_matrix *matrix, const Py_buffer *values, idx offset)
{
    int64_t dim = matrix->dim, rows = matrix->rows;
    if (dim < 1 || dim > INT32_MAX || offset < 0 || offset > values->len || rows < 0 ||
        rows > (values->len - offset) / (4 * dim)) {
        PyErr_Format(PyExc_ValueError, "%zd rows of %zd values do not lie in %zd bytes from %zd on",
                     (idx)rows, (idx)dim, values->len, offset);
        return 0;
    }
    matrix->values = (const ef_byte *)values->buf + offset;
    return 1;
}

/* Rows of codes, which are numbers of centroids; norms are optional. */
static int coded_matrix(ef_matrix *matrix, const Py_buffer *values, const Py_buffer *codes,
                        const Py_buffer *norms)
{
    idx dim = matrix->dim, step = matrix->step, rows = matrix->rows;
    if (dim < 1 || dim > INT32_MAX || step < 1 || step > dim || rows < 0 ||
        rows > codes->len / ((dim - 1) / step + 1)) {
        PyErr_Format(PyExc_ValueError, "%zd rows of %zd values do not lie in %zd codes", rows, dim,
                     codes->len);
        return 0;
    }
    matrix->parts = (dim - 1) / step + 1;
    matrix->values = values->buf;
    matrix->codes = codes->buf;
    matrix->norms = norms->len ? norms->buf : NULL;
    return check_items(values, EF_CENTROIDS * dim, 4, "centroids") &&
           (!norms->len || check_items(norms, rows, 4, "norms"));
}

static int check_words(idx words, idx rows)
{
    if (words >= 0 && words <= rows)
        return 1;
    PyErr_Format(PyExc_ValueError, "%zd rows of words are not among %zd rows", words, rows);
    return 0;
}

static int check_tokens(const Py_buffer *offsets, const Py_buffer *blob, const Py_buffer *target,
                        idx dim)
{
    idx n = offsets->len / 8 - 1;
    if (n > 0 && dim > PY_SSIZE_T_MAX / 4 / n) {
        PyErr_Format(PyExc_ValueError, "%zd rows of %zd values are too many", n, dim);
        return 0;
    }
    return check_offsets(offsets, blob->len) && check_items(target, n * dim, 4, "target");
}

PyDoc_STRVAR(subword_rows_doc,
             "subword_rows(tokens, ngrams, matrix, target)\n--\n\n"
             "fastText's vectors of tokens. tokens: blob, offsets [n + 1] and their own rows int64 [n]\n"
             "(-1: none). ngrams: minn, maxn, rows of words, buckets, and the kept buckets of a pruned\n"
             "model and their rows (int32, rising; None: not pruned). matrix: values, offset, rows,\n"
             "dim, then codes, norms (or b\"\") and the values of a part, or b\"\", b\"\" and 0.\n"
             "Writes float32 [n, dim] to target; returns the first token with a row that the matrix\n"
             "has not, or -1.");

static PyObject *subword_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[9] = {{0}}; /* blob, offsets, own, kept, places, values, codes, norms, target */
    ef_ngrams ngrams = {0};
    ef_matrix matrix = {0};
    idx offset, minn, maxn, words, rows, dim, step, bad = -1;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "(y*y*y*)(nnnIz*z*)(y*nnny*y*n)w*", &b[0], &b[1], &b[2], &minn,
                          &maxn, &words, &ngrams.buckets, &b[3], &b[4], &b[5], &offset, &rows, &dim,
                          &b[6], &b[7], &step, &b[8])) {
        release(b, 9);
        return NULL;
    }
    ngrams.minn = minn, ngrams.maxn = maxn, ngrams.words = words;
    matrix.rows = rows, matrix.dim = dim, matrix.step = step;
    idx n = b[1].len / 8 - 1;
    ngrams.n_kept = b[3].buf ? b[3].len / 4 : -1;
    ngrams.kept = b[3].buf, ngrams.places = b[4].buf;
    int held = b[6].len ? coded_matrix(&matrix, &b[5], &b[6], &b[7])
                        : dense_matrix(&matrix, &b[5], offset);
    if (held && check_words(words, rows) && check_tokens(&b[1], &b[0], &b[8], dim) &&
        check_items(&b[2], n, 8, "own") &&
        check_items(&b[3], ngrams.n_kept < 0 ? 0 : ngrams.n_kept, 4, "kept") &&
        check_items(&b[4], ngrams.n_kept < 0 ? 0 : ngrams.n_kept, 4, "places")) {
        const int64_t *offsets = b[1].buf, *own = b[2].buf;
        const ef_byte *blob = b[0].buf;
        float *out = b[8].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < n && bad < 0; i++)
            if (!ef_fasttext_row(&ngrams, &matrix, own[i], blob + offsets[i],
                                 offsets[i + 1] - offsets[i], out + i * dim))
                bad = i;
        Py_END_ALLOW_THREADS
    }
    release(b, 9);
    return ok ? PyLong_FromSsize_t(bad) : NULL;
}

PyDoc_STRVAR(floret_rows_doc,
             "floret_rows(tokens, ngrams, matrix, target)\n--\n\n"
             "spaCy's vectors of tokens in floret mode. tokens: blob and offsets [n + 1], each with\n"
             "its marks of begin and end. ngrams: minn, maxn, hashes of each n-gram, seed. matrix:\n"
             "values, offset, rows, dim. Writes float32 [n, dim] to target.");

static PyObject *floret_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[4] = {{0}}; /* blob, offsets, values, target */
    ef_floret floret = {0};
    ef_matrix matrix = {0};
    idx offset, minn, maxn, hashes, rows, dim;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "(y*y*)(nnnI)(y*nnn)w*", &b[0], &b[1], &minn, &maxn, &hashes,
                          &floret.seed, &b[2], &offset, &rows, &dim, &b[3])) {
        release(b, 4);
        return NULL;
    }
    floret.minn = minn, floret.maxn = maxn, floret.hashes = hashes;
    matrix.rows = rows, matrix.dim = dim;
    if (rows < 1 || minn < 0 || hashes < 1 || hashes > 4)
        PyErr_Format(PyExc_ValueError, "rows %zd, minn %zd or hashes %zd is out of range", rows, minn,
                     hashes);
    else if (dense_matrix(&matrix, &b[2], offset) && check_tokens(&b[1], &b[0], &b[3], dim)) {
        const int64_t *offsets = b[1].buf;
        const ef_byte *blob = b[0].buf;
        float *out = b[3].buf;
        idx n = b[1].len / 8 - 1;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < n; i++)
            ef_floret_row(&floret, &matrix, blob + offsets[i], offsets[i + 1] - offsets[i],
                          out + i * dim);
        Py_END_ALLOW_THREADS
    }
    release(b, 4);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(murmur_tokens_doc,
             "murmur_tokens(blob, offsets, seed, hashes)\n--\n\n"
             "MurmurHash64A of each token, to uint64 [n].");

static PyObject *murmur_tokens(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[3] = {{0}};
    unsigned long long seed;
    int ok = 0;
    if (!PyArg_ParseTuple(args, "y*y*Kw*", &b[0], &b[1], &seed, &b[2]))
        return NULL;
    idx n = b[1].len / 8 - 1;
    if (check_offsets(&b[1], b[0].len) && check_items(&b[2], n, 8, "hashes")) {
        const int64_t *offsets = b[1].buf;
        const ef_byte *blob = b[0].buf;
        uint64_t *hashes = b[2].buf;
        ok = 1;
        Py_BEGIN_ALLOW_THREADS
        for (idx i = 0; i < n; i++)
            hashes[i] = ef_murmur64(blob + offsets[i], offsets[i + 1] - offsets[i], seed);
        Py_END_ALLOW_THREADS
    }
    release(b, 3);
    if (!ok)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- checksums --------------------------------------------------------------------------- */

PyDoc_STRVAR(crc32c_doc, "crc32c(buffer, by_tables=False)\n--\n\n"
                         "The CRC-32C of some bytes; on request as processors without an instruction\n"
                         "for it compute it.");

static PyObject *crc32c(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[1] = {{0}};
    int by_tables = 0;
    uint32_t crc;
    if (!PyArg_ParseTuple(args, "y*|p", &b[0], &by_tables)) {
        release(b, 1);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    crc = by_tables ? ef_crc32c_by_tables(b[0].buf, (size_t)b[0].len)
                    : ef_crc32c(b[0].buf, (size_t)b[0].len);
    Py_END_ALLOW_THREADS
    release(b, 1);
    return PyLong_FromUnsignedLong(crc);
}

/* ---- guards of mapped files --------------------------------------------------------------- */

PyDoc_STRVAR(guard_enter_doc,
             "guard_enter(mapping)\n--\n\n"
             "From now on, pages of a mapping that its file no longer has read as zeros. Returns the\n"
             "guard's number. The mapping must outlive the guard.");

static PyObject *guard_enter(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer b[1] = {{0}};
    if (!PyArg_ParseTuple(args, "y*", &b[0]))
        return NULL;
    uintptr_t start = (uintptr_t)b[0].buf, len = (uintptr_t)b[0].len;
    int place = -1;
    if (!len || start % (uintptr_t)sysconf(_SC_PAGESIZE))
        PyErr_SetString(PyExc_ValueError, "a guard needs a buffer that begins at a page");
    else if ((place = ef_guard_enter(start, len)) < 0)
        PyErr_SetFromErrno(PyExc_OSError);
    release(b, 1);
    return place < 0 ? NULL : PyLong_FromLong(place);
}

static int guard_argument(PyObject *args, int *place)
{
    if (!PyArg_ParseTuple(args, "i", place))
        return 0;
    if (ef_guard_is_used(*place))
        return 1;
    PyErr_Format(PyExc_ValueError, "%d is the number of no guard", *place);
    return 0;
}

PyDoc_STRVAR(guard_hit_doc, "guard_hit(guard)\n--\n\n"
                            "Was a page replaced by zeros?");

static PyObject *guard_hit(PyObject *Py_UNUSED(module), PyObject *args)
{
    int place;
    return guard_argument(args, &place) ? PyBool_FromLong(ef_guard_hit(place)) : NULL;
}

PyDoc_STRVAR(guard_leave_doc, "guard_leave(guard)\n--\n\n"
                              "End a guard, before its mapping ends. Was a page replaced?");

static PyObject *guard_leave(PyObject *Py_UNUSED(module), PyObject *args)
{
    int place;
    return guard_argument(args, &place) ? PyBool_FromLong(ef_guard_leave(place)) : NULL;
}

/* ---- the module -------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"are_finite", are_finite, METH_O, are_finite_doc},
    {"copy_rows", copy_rows, METH_VARARGS, copy_rows_doc},
    {"count_lines", count_lines, METH_VARARGS, count_lines_doc},
    {"crc32c", crc32c, METH_VARARGS, crc32c_doc},
    {"cut_tokens", cut_tokens, METH_VARARGS, cut_tokens_doc},
    {"find_entries", find_entries, METH_VARARGS, find_entries_doc},
    {"find_heap_strings", find_heap_strings, METH_VARARGS, find_heap_strings_doc},
    {"find_lines", find_lines, METH_VARARGS, find_lines_doc},
    {"find_records", find_records, METH_VARARGS, find_records_doc},
    {"first_not_utf8", first_not_utf8, METH_VARARGS, first_not_utf8_doc},
    {"floret_rows", floret_rows, METH_VARARGS, floret_rows_doc},
    {"format_records", format_records, METH_VARARGS, format_records_doc},
    {"format_rows", format_rows, METH_VARARGS, format_rows_doc},
    {"gather_spans", gather_spans, METH_VARARGS, gather_spans_doc},
    {"guard_enter", guard_enter, METH_VARARGS, guard_enter_doc},
    {"guard_hit", guard_hit, METH_VARARGS, guard_hit_doc},
    {"guard_leave", guard_leave, METH_VARARGS, guard_leave_doc},
    {"guess_record", guess_record, METH_VARARGS, guess_record_doc},
    {"hash_tokens", hash_tokens, METH_VARARGS, hash_tokens_doc},
    {"index_find", index_find, METH_VARARGS, index_find_doc},
    {"index_insert", index_insert, METH_VARARGS, index_insert_doc},
    {"is_number", is_number, METH_VARARGS, is_number_doc},
    {"murmur_tokens", murmur_tokens, METH_VARARGS, murmur_tokens_doc},
    {"parse_rows", parse_rows, METH_VARARGS, parse_rows_doc},
    {"pool_rows", pool_rows, METH_VARARGS, pool_rows_doc},
    {"scatter_rows", scatter_rows, METH_VARARGS, scatter_rows_doc},
    {"subword_rows", subword_rows, METH_VARARGS, subword_rows_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "embedfreeze._kernel", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    ef_crc32c_prepare();
    return PyModuleDef_Init(&definition);
}
