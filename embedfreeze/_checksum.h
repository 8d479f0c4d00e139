/* CRC-32C (RFC 3720, appendix B.4): by the instruction of SSE 4.2 where the processor has it, else
 * by eight tables, a word a step. Pure C without Python.h. */
#ifndef EMBEDFREEZE_CHECKSUM_H
#define EMBEDFREEZE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_decimal.h"

#define EF_CRC32C_POLYNOMIAL UINT32_C(0x82F63B78) /* its bits reflected */

/* What a byte does to a CRC that as many further bytes follow as its table has the number. */
static uint32_t ef_crc32c_tables[8][256];

/* Fills the tables; to be called once, before the first checksum. */
static inline void ef_crc32c_prepare(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? EF_CRC32C_POLYNOMIAL : 0);
        ef_crc32c_tables[0][byte] = crc;
    }
    for (int behind = 1; behind < 8; behind++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = ef_crc32c_tables[behind - 1][byte];
            ef_crc32c_tables[behind][byte] = crc >> 8 ^ ef_crc32c_tables[0][crc & 0xFF];
        }
}

static inline uint32_t ef_crc32c_by_tables(const ef_byte *p, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = 0;
        for (int i = 0; i < 8; i++)
            crc ^= ef_crc32c_tables[7 - i][word >> 8 * i & 0xFF];
    }
    for (; len; p++, len--)
        crc = crc >> 8 ^ ef_crc32c_tables[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t ef_crc32c_by_sse(const ef_byte *p, size_t len)
{
    uint64_t crc = UINT32_MAX;
    for (; len >= 8; p += 8, len -= 8) {
        unsigned long long word;
        memcpy(&word, p, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    uint32_t rest = (uint32_t)crc;
    for (; len; p++, len--)
        rest = __builtin_ia32_crc32qi(rest, *p);
    return ~rest;
}
#endif

static inline uint32_t ef_crc32c(const ef_byte *p, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ef_crc32c_by_sse(p, len);
#endif
    return ef_crc32c_by_tables(p, len);
}

#endif
