/* Vectors from the n-grams of a token, as fastText and spaCy's floret mode make them: which rows of
 * a matrix belong to a token, and their mean, with the float32 operations of those programs in
 * their order. Pure C without Python.h. Sums need -ffp-contract=off: a fused multiplication rounds
 * once where those programs round twice. */
#ifndef EMBEDFREEZE_SUBWORDS_H
#define EMBEDFREEZE_SUBWORDS_H

#include <stdint.h>
#include <string.h>

#include "_decimal.h"

#define EF_CENTROIDS 256 /* of each part of a quantised row */

/* Rows of a file: float32 at any address, or codes of parts, each the number of a centroid. */
typedef struct {
    const ef_byte *values; /* float32 [rows, dim]; with codes the centroids of each part */
    const ef_byte *codes;  /* [rows, parts], or NULL */
    const float *norms;    /* [rows], or NULL */
    int64_t rows, dim;
    int64_t parts, step; /* values of a part; the last one has what is left of dim */
} ef_matrix;

static inline float ef_float_at(const ef_byte *values, int64_t i)
{
    float value;
    memcpy(&value, values + 4 * i, 4);
    return value;
}

static inline void ef_add_codes(const ef_matrix *matrix, int64_t row, float *sum)
{
    const ef_byte *codes = matrix->codes + row * matrix->parts;
    float norm = matrix->norms ? matrix->norms[row] : 1.0f;
    for (int64_t part = 0; part < matrix->parts; part++) {
        int64_t first = part * matrix->step;
        int64_t size = part < matrix->parts - 1 ? matrix->step : matrix->dim - first;
        const ef_byte *from = matrix->values + 4 * (EF_CENTROIDS * first + codes[part] * size);
        for (int64_t i = 0; i < size; i++)
            sum[first + i] += norm * ef_float_at(from, i);
    }
}

/* Add `scale` times a row to a sum; 0 where there is no such row. */
static inline int ef_add_row(const ef_matrix *matrix, int64_t row, float scale, float *sum)
{
    if (row < 0 || row >= matrix->rows)
        return 0;
    if (matrix->codes) {
        ef_add_codes(matrix, row, sum);
        return 1;
    }
    const ef_byte *from = matrix->values + 4 * row * matrix->dim;
    for (int64_t i = 0; i < matrix->dim; i++)
        sum[i] += scale * ef_float_at(from, i);
    return 1;
}

/* ---- fastText ------------------------------------------------------------------------------ */

typedef struct {
    int64_t minn, maxn; /* characters of an n-gram */
    int64_t words;      /* rows of words, before those of n-grams */
    uint32_t buckets;
    const int32_t *kept, *places; /* of a pruned model: buckets, rising, and the row of each */
    int64_t n_kept;               /* -1 where nothing was pruned */
} ef_ngrams;

/* The row of a bucket, -1 where that was pruned. */
static inline int64_t ef_bucket_row(const ef_ngrams *ngrams, int64_t bucket)
{
    if (ngrams->n_kept < 0)
        return ngrams->words + bucket;
    int64_t low = 0, high = ngrams->n_kept;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (ngrams->kept[middle] < bucket)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ngrams->n_kept && ngrams->kept[low] == bucket ? ngrams->words + ngrams->places[low]
                                                               : -1;
}

/* Byte i of "<token>". */
static inline ef_byte ef_padded(const ef_byte *token, int64_t len, int64_t i)
{
    return i == 0 ? '<' : i <= len ? token[i - 1] : '>';
}

static inline int ef_continues(ef_byte byte) { return (byte & 0xC0) == 0x80; }

/* Add the rows of the n-grams that begin at byte `start`, shortest first; how many, or -1 where one
 * leaves the matrix. The hash is FNV-1a over signed bytes, and grows with the n-gram. */
static inline int64_t ef_add_ngrams(const ef_ngrams *ngrams, const ef_matrix *matrix,
                                    const ef_byte *token, int64_t len, int64_t start, float *sum)
{
    int64_t count = 0, size = len + 2, at = start;
    uint32_t hash = UINT32_C(2166136261);
    for (int64_t n = 1; at < size && n <= ngrams->maxn; n++) {
        do {
            int8_t byte = (int8_t)ef_padded(token, len, at++);
            hash = (hash ^ (uint32_t)byte) * UINT32_C(16777619);
        } while (at < size && ef_continues(ef_padded(token, len, at)));
        if (n < ngrams->minn || (n == 1 && (start == 0 || at == size)))
            continue;
        int64_t row = ef_bucket_row(ngrams, hash % ngrams->buckets);
        if (row < 0)
            continue;
        if (!ef_add_row(matrix, row, 1.0f, sum))
            return -1;
        count++;
    }
    return count;
}

/* The vector of a token: the mean of its own row (-1 where it has none) and those of its n-grams,
 * zeros where there is neither; 0 where a row leaves the matrix. */
static inline int ef_fasttext_row(const ef_ngrams *ngrams, const ef_matrix *matrix, int64_t own,
                                  const ef_byte *token, int64_t len, float *out)
{
    int64_t count = own >= 0;
    memset(out, 0, (size_t)matrix->dim * 4);
    if (own >= 0 && !ef_add_row(matrix, own, 1.0f, out))
        return 0;
    int ends_sentence = len == 4 && memcmp(token, "</s>", 4) == 0;
    int has_ngrams = ngrams->buckets && ngrams->n_kept && !ends_sentence;
    for (int64_t i = 0; has_ngrams && i < len + 2; i++) {
        if (ef_continues(ef_padded(token, len, i)))
            continue;
        int64_t added = ef_add_ngrams(ngrams, matrix, token, len, i, out);
        if (added < 0)
            return 0;
        count += added;
    }
    float share = count ? (float)(1.0 / (double)count) : 1.0f;
    for (int64_t i = 0; i < matrix->dim; i++)
        out[i] *= share;
    return 1;
}

/* ---- MurmurHash (public domain, Austin Appleby) ----------------------------------------------- */

/* Up to 8 bytes as a little-endian word. */
static inline uint64_t ef_little(const ef_byte *p, int64_t bytes)
{
    uint64_t word = 0;
    for (int64_t i = 0; i < bytes; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

/* MurmurHash64A. */
static inline uint64_t ef_murmur64(const ef_byte *p, int64_t len, uint64_t seed)
{
    const uint64_t m = UINT64_C(0xC6A4A7935BD1E995);
    uint64_t h = seed ^ ((uint64_t)len * m);
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t k = ef_little(p, 8) * m;
        h = (h ^ ((k ^ (k >> 47)) * m)) * m;
    }
    if (len)
        h = (h ^ ef_little(p, len)) * m;
    h = (h ^ (h >> 47)) * m;
    return h ^ (h >> 47);
}

static inline uint64_t ef_rotated(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

static inline uint64_t ef_murmur_final(uint64_t k)
{
    k = (k ^ (k >> 33)) * UINT64_C(0xFF51AFD7ED558CCD);
    k = (k ^ (k >> 33)) * UINT64_C(0xC4CEB9FE1A85EC53);
    return k ^ (k >> 33);
}

#define EF_MURMUR_1 UINT64_C(0x87C37B91114253D5)
#define EF_MURMUR_2 UINT64_C(0x4CF5AD432745937F)

/* MurmurHash3_x64_128. */
static inline void ef_murmur128(const ef_byte *p, int64_t len, uint32_t seed, uint64_t out[2])
{
    uint64_t h1 = seed, h2 = seed, whole = (uint64_t)len;
    for (; len >= 16; p += 16, len -= 16) {
        h1 ^= ef_rotated(ef_little(p, 8) * EF_MURMUR_1, 31) * EF_MURMUR_2;
        h1 = (ef_rotated(h1, 27) + h2) * 5 + 0x52DCE729;
        h2 ^= ef_rotated(ef_little(p + 8, 8) * EF_MURMUR_2, 33) * EF_MURMUR_1;
        h2 = (ef_rotated(h2, 31) + h1) * 5 + 0x38495AB5;
    }
    if (len > 8)
        h2 ^= ef_rotated(ef_little(p + 8, len - 8) * EF_MURMUR_2, 33) * EF_MURMUR_1;
    if (len)
        h1 ^= ef_rotated(ef_little(p, len < 8 ? len : 8) * EF_MURMUR_1, 31) * EF_MURMUR_2;
    h1 ^= whole;
    h2 ^= whole;
    h1 += h2;
    h2 += h1;
    h1 = ef_murmur_final(h1);
    h2 = ef_murmur_final(h2);
    out[0] = h1 + h2;
    out[1] = h2 + out[0];
}

/* ---- floret, as spaCy does it ------------------------------------------------------------------ */

typedef struct {
    int64_t minn, maxn;
    int64_t hashes; /* rows of each n-gram, 1 to 4 */
    uint32_t seed;
} ef_floret;

/* Where the character after the one at p begins. */
static inline const ef_byte *ef_next(const ef_byte *p, const ef_byte *end)
{
    for (p++; p < end && ef_continues(*p); p++)
        ;
    return p;
}

static inline void ef_add_hashed(const ef_floret *floret, const ef_matrix *matrix, const ef_byte *p,
                                 const ef_byte *end, float scale, float *sum)
{
    uint64_t hash[2];
    ef_murmur128(p, end - p, floret->seed, hash);
    for (int64_t i = 0; i < floret->hashes; i++) {
        uint32_t half = (uint32_t)(hash[i / 2] >> (32 * (i % 2)));
        ef_add_row(matrix, (int64_t)(half % (uint64_t)matrix->rows), scale, sum);
    }
}

/* The n-grams of a text of so many characters, and the text itself. */
static inline int64_t ef_floret_count(const ef_floret *floret, int64_t characters)
{
    int64_t count = 1;
    for (int64_t n = floret->minn; n <= floret->maxn && n <= characters; n++)
        count += characters - n + 1;
    return count;
}

/* The vector of a token, which comes with its marks of begin and end: the mean of the rows of its
 * n-grams, each scaled before it is added. The matrix has rows. */
static inline void ef_floret_row(const ef_floret *floret, const ef_matrix *matrix,
                                 const ef_byte *token, int64_t len, float *out)
{
    const ef_byte *end = token + len;
    int64_t characters = 0;
    for (const ef_byte *p = token; p < end; p = ef_next(p, end))
        characters++;
    int64_t count = ef_floret_count(floret, characters) * floret->hashes;
    float scale = (float)(1.0 / (double)count);
    memset(out, 0, (size_t)matrix->dim * 4);
    ef_add_hashed(floret, matrix, token, end, scale, out);
    for (int64_t n = floret->minn; n <= floret->maxn && n <= characters; n++) {
        const ef_byte *from = token, *to = token;
        for (int64_t i = 0; i < n; i++)
            to = ef_next(to, end);
        for (int64_t i = n; i <= characters; i++) {
            ef_add_hashed(floret, matrix, from, to, scale, out);
            if (i < characters) {
                from = ef_next(from, end);
                to = ef_next(to, end);
            }
        }
    }
}

#endif
