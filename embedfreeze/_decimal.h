/* Decimal text <-> float32, without Python.h and without the locale.
 *
 * Reading gives what numpy.float32(float(text)) gives: the text rounded to the nearest double, and
 * that double rounded to the nearest float. Where the mantissa is at most 2^53 and the power of ten
 * at most 22, one division of exact doubles is that nearest double (Clinger, "How to read floating
 * point numbers accurately", PLDI 1990). Elsewhere an approximate double with a bound on its error
 * decides, provided that every double within the bound rounds to one float; the few numbers left
 * (about one in 2^25) are handed back to the caller as EF_INEXACT.
 *
 * Writing tries 1 to 9 significant digits and keeps the fewest that read back to the same bits.
 */
#ifndef EMBEDFREEZE_DECIMAL_H
#define EMBEDFREEZE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "embedfreeze needs a little-endian machine"
#endif

typedef unsigned char ef_byte;

enum ef_status {
    EF_OK = 0,
    EF_BAD = 1,    /* not a number of the grammar */
    EF_INEXACT = 2 /* a number, but the caller must round it */
};

#define EF_SMALLEST_NORMAL UINT32_C(0x00800000)
#define EF_INFINITY UINT32_C(0x7F800000)
#define EF_NAN UINT32_C(0x7FC00000)
#define EF_MAX_TEXT 16 /* longest text that ef_write_float makes: -1.17549435e-38 */

static const double ef_pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const int64_t ef_pow10_integer[] = {1,      10,      100,      1000,     10000,
                                            100000, 1000000, 10000000, 100000000};

static inline uint64_t ef_load8(const ef_byte *p, const ef_byte *end)
{
    uint64_t word = 0;
    if (end - p >= 8)
        memcpy(&word, p, 8);
    else if (p < end)
        memcpy(&word, p, (size_t)(end - p));
    return word;
}

static inline uint32_t ef_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline float ef_signed(float magnitude, int negative)
{
    uint32_t bits = ef_float_bits(magnitude) | ((uint32_t)negative << 31);
    memcpy(&magnitude, &bits, 4);
    return magnitude;
}

/* The value of the n first bytes of a word (1 to 8), or -1 if they are not all digits. */
static inline int64_t ef_digits_value(uint64_t word, int n)
{
    uint64_t digits = word ^ UINT64_C(0x3030303030303030);
    uint64_t other = (digits + UINT64_C(0x7676767676767676)) | digits;
    /* A carry can only reach bytes after a byte that is no digit. */
    if ((other & UINT64_C(0x8080808080808080)) << (64 - 8 * n))
        return -1;
    digits <<= 64 - 8 * n; /* zeros before the digits */
    digits = digits * 10 + (digits >> 8);
    return (int64_t)(((digits & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064) +
                      ((digits >> 16) & UINT64_C(0x000000FF000000FF)) *
                          UINT64_C(0x0000271000000001)) >>
                     32);
}

static inline uint64_t ef_word(const ef_byte *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

static inline int ef_is_digit(ef_byte c) { return (unsigned)(c - '0') < 10; }

/* Does `word` (lower case) stand at p in any case? */
static inline int ef_is_word(const ef_byte *p, const ef_byte *end, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(end - p) != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if ((p[i] | 0x20) != (ef_byte)word[i])
            return 0;
    return 1;
}

static inline enum ef_status ef_read_word(const ef_byte *p, const ef_byte *end, int negative,
                                          float *out)
{
    int infinite = ef_is_word(p, end, "inf") || ef_is_word(p, end, "infinity");
    uint32_t bits = infinite ? EF_INFINITY : EF_NAN;
    if (!infinite && !ef_is_word(p, end, "nan"))
        return EF_BAD;
    memcpy(out, &bits, 4);
    *out = ef_signed(*out, negative);
    return EF_OK;
}

#define EF_MAX_SCALE 44 /* the powers of ten that ef_scaled takes */

/* value * 10^e10, rounded once up to 10^22 (those powers are exact doubles), twice beyond. */
static inline double ef_scaled(double value, int e10)
{
    if (e10 < -22) {
        value /= ef_pow10[22];
        e10 += 22;
    } else if (e10 > 22) {
        value *= ef_pow10[22];
        e10 -= 22;
    }
    return e10 < 0 ? value / ef_pow10[-e10] : value * ef_pow10[e10];
}

/* Round w * 10^e10 (w inexact in its last place where `cut`) if that can be done surely. */
static inline enum ef_status ef_round(uint64_t w, int64_t e10, int cut, float *out)
{
    *out = 0.0f;
    if (w == 0)
        return EF_OK;
    if (e10 < -EF_MAX_SCALE || e10 > EF_MAX_SCALE)
        return EF_INEXACT;
    double value = ef_scaled((double)w, (int)e10);
    if (!cut && w <= (UINT64_C(1) << 53) && e10 >= -22 && e10 <= 22) {
        *out = (float)value;
        return EF_OK;
    }
    /* At most three roundings of half an ulp, and a cut below 2^-59: 2^-50 is more than that. */
    float low = (float)(value - value * 0x1p-50);
    float high = (float)(value + value * 0x1p-50);
    *out = low;
    return low == high ? EF_OK : EF_INEXACT;
}

/* A whole field [p, end): [+-] digits [. digits] [e [+-] digits], inf, infinity or nan. */
static inline enum ef_status ef_read_field(const ef_byte *p, const ef_byte *end, float *out)
{
    int negative = 0, cut = 0, any = 0;
    uint64_t w = 0;
    int64_t e10 = 0;

    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    if (p < end && (*p | 0x20) >= 'a')
        return ef_read_word(p, end, negative, out);
    for (int after_point = 0; p < end; p++) {
        if (*p == '.' && !after_point) {
            after_point = 1;
            continue;
        }
        if (!ef_is_digit(*p))
            break;
        any = 1;
        if (w < UINT64_C(1000000000000000000)) {
            w = w * 10 + (uint64_t)(*p - '0');
            e10 -= after_point;
        } else {
            cut |= *p != '0';
            e10 += !after_point;
        }
    }
    if (!any)
        return EF_BAD;
    if (p < end && (*p | 0x20) == 'e') {
        int below = 0;
        int64_t exponent = 0;
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            below = *p++ == '-';
        if (p == end)
            return EF_BAD;
        for (; p < end && ef_is_digit(*p); p++)
            if (exponent < 1000000000)
                exponent = exponent * 10 + (*p - '0');
        e10 += below ? -exponent : exponent;
    }
    if (p != end)
        return EF_BAD;
    enum ef_status status = ef_round(w, e10, cut, out);
    *out = ef_signed(*out, negative);
    return status;
}

#define EF_BLOCK 64   /* bytes that ef_field_ends looks at */
#define EF_LOOKAHEAD 16 /* bytes after a field that ef_read_usual may load */

/* Where fields end in the 64 bytes at p, as bits: at the delimiter and at any byte up to 0x20. */
static inline uint64_t ef_field_ends(const ef_byte *p, ef_byte delimiter)
{
    uint64_t ends = 0;
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(0x20), other = _mm_set1_epi8((char)delimiter);
    for (int i = 0; i < EF_BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(bytes, space), bytes),
                                   _mm_cmpeq_epi8(bytes, other));
        ends |= (uint64_t)(unsigned)_mm_movemask_epi8(hit) << i;
    }
#else
    for (int i = 0; i < EF_BLOCK; i++)
        ends |= (uint64_t)(p[i] <= 0x20 || p[i] == delimiter) << i;
#endif
    return ends;
}

/* Seven to fourteen digits after the point; the value without the point, or -1. */
static inline int64_t ef_read_long(const ef_byte *p, int n)
{
    int first = n > 8 ? 8 : n;
    int64_t w = ef_digits_value(ef_word(p + 2), first);
    int64_t rest = n > 8 ? ef_digits_value(ef_word(p + 10), n - 8) : 0;
    if (!ef_is_digit(p[0]) || (w | rest) < 0)
        return -1;
    w += (int64_t)(p[0] - '0') * ef_pow10_integer[first];
    return n > 8 ? w * ef_pow10_integer[n - 8] + rest : w;
}

/* A field [p, end) in the usual spelling, [-] digit . digits; 0 if it is any other. The bytes up to
 * end + EF_LOOKAHEAD can be read. */
static inline int ef_read_usual(const ef_byte *p, const ef_byte *end, float *out)
{
    int negative = *p == '-';
    p += negative;
    ptrdiff_t n = end - p - 2; /* digits after the point */
    if (n < 1 || n > 14 || p[1] != '.') /* 15 digits stay below 2^53 */
        return 0;
    int64_t w;
    if (n <= 6) { /* the point taken out, all digits stand in one word */
        uint64_t word = ef_word(p);
        w = ef_digits_value((word & 0xFF) | (word >> 8 & ~UINT64_C(0xFF)), (int)n + 1);
    } else {
        w = ef_read_long(p, (int)n);
    }
    *out = ef_signed((float)((double)w / ef_pow10[n]), negative);
    return w >= 0;
}

/* floor(log10(value)), or beside it right at a power of ten beyond 10^22. */
static inline int ef_exponent(double value)
{
    int exponent = 0;
    if (value >= 1)
        while (ef_scaled(value, -exponent - 1) >= 1)
            exponent++;
    else
        do
            exponent--;
        while (ef_scaled(value, -exponent) < 1);
    return exponent;
}

/* The fewest digits d (up to nine) and the scale s with d * 10^-s == value; 0 where the caller must
 * find them. No two decimals of six digits lie as near to each other as two floats, except for
 * subnormal ones: where one of fewer digits reads back, it is the one of six. */
static inline uint64_t ef_shortest(float magnitude, int *scale)
{
    uint32_t bits = ef_float_bits(magnitude);
    if (bits < EF_SMALLEST_NORMAL)
        return 0;
    int exponent = ef_exponent(magnitude);
    for (int digits = 6; digits <= 9 && digits - 1 - exponent <= EF_MAX_SCALE; digits++) {
        int s = digits - 1 - exponent;
        double scaled = ef_scaled(magnitude, s);
        uint64_t below = (uint64_t)scaled;
        int above_first = scaled - (double)below >= 0.5;
        for (int i = 0; i < 2; i++) {
            uint64_t candidate = below + (uint64_t)(above_first ^ i);
            float read;
            if (ef_round(candidate, -s, 0, &read) != EF_OK)
                return 0;
            if (ef_float_bits(read) == bits) {
                while (candidate % 10 == 0) {
                    candidate /= 10;
                    s--;
                }
                *scale = s;
                return candidate;
            }
        }
    }
    return 0;
}

static inline char *ef_write_integer(char *out, uint64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + width;
}

static inline int ef_width(uint64_t value)
{
    int width = 1;
    while (value >= 10) {
        value /= 10;
        width++;
    }
    return width;
}

/* digits * 10^-scale in at most EF_MAX_TEXT - 1 characters, plain between 1e-4 and 1e9. */
static inline char *ef_write_decimal(char *out, uint64_t digits, int scale)
{
    int width = ef_width(digits);
    int exponent = width - 1 - scale;
    if (exponent < -4 || exponent > 8) {
        uint64_t leading = (uint64_t)ef_pow10_integer[width - 1];
        out = ef_write_integer(out, digits / leading, 1);
        if (width > 1) {
            *out++ = '.';
            out = ef_write_integer(out, digits % leading, width - 1);
        }
        *out++ = 'e';
        *out++ = exponent < 0 ? '-' : '+';
        exponent = exponent < 0 ? -exponent : exponent;
        return ef_write_integer(out, (uint64_t)exponent, 2);
    }
    if (scale <= 0) {
        out = ef_write_integer(out, digits, width);
        memset(out, '0', (size_t)-scale);
        return out - scale;
    }
    if (exponent >= 0) {
        uint64_t unit = (uint64_t)ef_pow10_integer[scale];
        out = ef_write_integer(out, digits / unit, width - scale);
        *out++ = '.';
        return ef_write_integer(out, digits % unit, scale);
    }
    *out++ = '0';
    *out++ = '.';
    return ef_write_integer(out, digits, scale);
}

/* Eight digits as text, the first in the lowest byte: two halves, four pairs, then single digits. */
static inline uint64_t ef_eight_digits(uint32_t value)
{
    uint64_t x = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t high = x * 10486 >> 20 & UINT64_C(0x0000007F0000007F);
    x = high + ((x - high * 100) << 16);
    high = x * 103 >> 10 & UINT64_C(0x000F000F000F000F);
    return high + ((x - high * 10) << 8) + UINT64_C(0x3030303030303030);
}

/* Nine digits times 10^(exponent - 8) in plain spelling, for exponents from -4 to 8. */
static inline char *ef_write_nine(char *out, uint32_t digits, int exponent)
{
    char first = (char)('0' + digits / 100000000);
    uint64_t rest = ef_eight_digits(digits % 100000000);
    uint64_t used = rest ^ UINT64_C(0x3030303030303030);
    int count = used ? 8 - (__builtin_clzll(used) >> 3) : 0; /* without zeros at the end */
    if (exponent < 0) {
        memcpy(out, "0.000", 5);
        out -= exponent;
        out[1] = first;
        memcpy(out + 2, &rest, 8);
        return out + 2 + count;
    }
    *out++ = first;
    memcpy(out, &rest, 8);
    out += exponent;
    if (count <= exponent)
        return out;
    *out++ = '.';
    rest >>= 8 * exponent;
    memcpy(out, &rest, 8);
    return out + count - exponent;
}

/* What ef_write_usual knows of a value: scaled to nine digits, it and the borders to the next
 * floats are exact doubles, of 25 bits times 5^12 at most. */
typedef struct {
    double scaled, half; /* the borders lie `half` beside it */
    uint32_t below;
} ef_scaled_value;

enum { EF_FAR, EF_NEAR, EF_UNSURE };

/* The multiple of `unit` next to a value, and whether it reads back to it. */
static inline int ef_nearest(const ef_scaled_value *value, uint32_t unit, uint32_t *digits)
{
    uint32_t half_up = unit > 1 ? unit / 2 : value->scaled - value->below >= 0.5;
    *digits = (value->below + half_up) / unit * unit;
    double off = __builtin_fabs(value->scaled - *digits);
    if (off < value->half - 1e-6 && *digits < 1000000000)
        return EF_NEAR;
    /* Right at a border it matters how the division rounds that reads it. */
    return off < value->half + 1e-6 ? EF_UNSURE : EF_FAR;
}

/* A value from 1e-4 to 2^29; NULL if it is any other, or a border lies at a decimal. */
static inline char *ef_write_usual(char *out, float magnitude)
{
    uint32_t bits = ef_float_bits(magnitude), digits;
    int e2 = (int)(bits >> 23) - 127;
    if (e2 < -14 || e2 > 28)
        return NULL;
    int exponent = e2 * 1233 >> 12; /* floor(log10), or one less */
    exponent += (double)magnitude * ef_pow10[8 - exponent] >= 1e9;
    if (exponent < -4)
        return NULL;
    ef_scaled_value value = {(double)magnitude * ef_pow10[8 - exponent], 0, 0};
    uint64_t half_bits = (uint64_t)(e2 - 24 + 1023) << 52;
    memcpy(&value.half, &half_bits, 8);
    value.half *= ef_pow10[8 - exponent];
    int is_power = !(bits & UINT32_C(0x007FFFFF));
    if (is_power) /* below it floats lie nearer to each other */
        value.half /= 2;
    value.below = (uint32_t)value.scaled;
    int found = ef_nearest(&value, 1000, &digits);
    if (found == EF_FAR && is_power)
        return NULL;
    if (found == EF_FAR)
        found = ef_nearest(&value, 100, &digits);
    if (found == EF_FAR)
        found = ef_nearest(&value, 10, &digits);
    if (found == EF_FAR)
        found = ef_nearest(&value, 1, &digits);
    return found == EF_NEAR ? ef_write_nine(out, digits, exponent) : NULL;
}

#define EF_SPILL 8 /* bytes that ef_write_float may write behind a text, if it is allowed to */

/* The text of a value; NULL where the caller must find it (very small or very large). */
static inline char *ef_write_float(char *out, float value, int spills)
{
    uint32_t bits = ef_float_bits(value);
    int scale = 0;
    *out = '-';
    out += bits >> 31;
    bits &= UINT32_C(0x7FFFFFFF);
    memcpy(&value, &bits, 4);
    if (bits == 0) {
        *out++ = '0';
        return out;
    }
    if (bits >= EF_INFINITY) {
        memcpy(out, bits == EF_INFINITY ? "inf" : "nan", 3);
        return out + 3;
    }
    char *after = spills ? ef_write_usual(out, value) : NULL;
    if (after)
        return after;
    uint64_t digits = ef_shortest(value, &scale);
    return digits ? ef_write_decimal(out, digits, scale) : NULL;
}

#endif
