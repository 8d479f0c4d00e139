/* The bare minimum of a parser of GloVe text, as a bound: two threads over a mapped file of which
 * everything is known before (rows of one word and dim plain decimals, one space between, no
 * exponents), into memory that is there. It checks nothing and keeps no tokens. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *start, *stop;
    float *out;
    long dim, rows;
} part;

static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8,
                                1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16};

static void *count_rows(void *argument)
{
    part *work = argument;
    const char *p = work->start;
    for (work->rows = 0; p < work->stop; work->rows++)
        p = (const char *)memchr(p, '\n', (size_t)(work->stop - p)) + 1;
    return NULL;
}

/* The digits at the start of eight bytes, and how many there are. */
static inline uint64_t digits_of(const char *p, int *count)
{
    uint64_t word;
    memcpy(&word, p, 8);
    word ^= 0x3030303030303030;
    uint64_t others = (word | (word + 0x7676767676767676)) & 0x8080808080808080;
    *count = others ? __builtin_ctzll(others) >> 3 : 8;
    if (!*count)
        return 0;
    word <<= 64 - 8 * *count;
    word = word * 10 + (word >> 8);
    return (((word & 0x000000ff000000ff) * 0x000f424000000064) +
            (((word >> 16) & 0x000000ff000000ff) * 0x0000271000000001)) >> 32;
}

static void *parse_part(void *argument)
{
    part *work = argument;
    const char *p = work->start;
    float *out = work->out;
    while (p < work->stop) {
        p = (const char *)memchr(p, ' ', (size_t)(work->stop - p)) + 1;
        for (long column = 0; column < work->dim; column++) {
            int negative = *p == '-', count, fraction = 0;
            p += negative;
            uint64_t value = digits_of(p, &count);
            p += count;
            if (*p == '.') {
                uint64_t more = digits_of(++p, &count);
                value = value * (uint64_t)powers[count] + more;
                p += count;
                fraction = count;
                if (count == 8)
                    for (; *p >= '0' && *p <= '9'; p++, fraction++)
                        value = value * 10 + (uint64_t)(*p - '0');
            }
            double number = (double)value / powers[fraction];
            *out++ = (float)(negative ? -number : number);
            p++;
        }
    }
    return NULL;
}

static void both(void *(*function)(void *), part *parts)
{
    pthread_t second;
    pthread_create(&second, NULL, function, &parts[1]);
    function(&parts[0]);
    pthread_join(second, NULL);
}

/* Rows found; out must have room for all, and the mapping end in readable bytes. */
long bare_parse(const char *text, long size, long dim, float *out)
{
    const char *middle = (const char *)memchr(text + size / 2, '\n', (size_t)(size - size / 2)) + 1;
    part parts[2] = {{text, middle, out, dim, 0}, {middle, text + size, NULL, dim, 0}};
    both(count_rows, parts);
    parts[1].out = out + parts[0].rows * dim;
    both(parse_part, parts);
    return parts[0].rows + parts[1].rows;
}
