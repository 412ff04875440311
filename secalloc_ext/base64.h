/* Layer 4: base64 (RFC 4648) from memory to memory, in a time that depends on sizes only: no table that a cache would tell
 * of, no branch on a character. 24 bytes or 32 characters at a time by AVX2, where there is AVX2.
 *
 * A digit is a number from 0 to 63. `variant` says what the last two are spelled as.
 */
#ifndef SECALLOC_BASE64_H
#define SECALLOC_BASE64_H

#include "prim.h"

typedef struct {
    int8_t of_62, of_63; /* '+' and '/', or '-' and '_' */
} base64_variant;

static const base64_variant base64_standard = {'+', '/'}, base64_urlsafe = {'-', '_'};

/* All ones where a <= b, else 0. */
static inline int base64_at_most(int a, int b) { return (a - b - 1) >> 31; }
static inline int base64_between(int a, int c, int b) { return base64_at_most(a, c) & base64_at_most(c, b); }

static inline int base64_character(int digit, base64_variant variant)
{
    return (base64_at_most(digit, 25) & (digit + 'A')) | (base64_between(26, digit, 51) & (digit - 26 + 'a'))
           | (base64_between(52, digit, 61) & (digit - 52 + '0')) | (base64_between(62, digit, 62) & variant.of_62)
           | (base64_between(63, digit, 63) & variant.of_63);
}

/* Below 0 for a character that is none. */
static inline int base64_digit(int c, base64_variant variant)
{
    int digit = (base64_between('A', c, 'Z') & (c - 'A' + 1)) | (base64_between('a', c, 'z') & (c - 'a' + 27))
                | (base64_between('0', c, '9') & (c - '0' + 53))
                | (base64_between(variant.of_62, c, variant.of_62) & 63)
                | (base64_between(variant.of_63, c, variant.of_63) & 64);
    return digit - 1;
}

#if defined(__x86_64__)
#define avx2 __attribute__((target("avx2"), unused))

/* 32 bytes, each from 0 to 63, to characters. */
avx2 static inline __m256i base64_characters_32(__m256i digits, base64_variant variant)
{
    __m256i offset = _mm256_set1_epi8('A');
    offset = _mm256_add_epi8(offset, _mm256_and_si256(_mm256_cmpgt_epi8(digits, _mm256_set1_epi8(25)),
                                                      _mm256_set1_epi8('a' - 26 - 'A')));
    offset = _mm256_add_epi8(offset, _mm256_and_si256(_mm256_cmpgt_epi8(digits, _mm256_set1_epi8(51)),
                                                      _mm256_set1_epi8('0' - 52 - ('a' - 26))));
    offset = _mm256_add_epi8(offset, _mm256_and_si256(_mm256_cmpgt_epi8(digits, _mm256_set1_epi8(61)),
                                                      _mm256_set1_epi8((char)(variant.of_62 - 62 - ('0' - 52)))));
    offset = _mm256_add_epi8(
        offset, _mm256_and_si256(_mm256_cmpgt_epi8(digits, _mm256_set1_epi8(62)),
                                 _mm256_set1_epi8((char)(variant.of_63 - 63 - (variant.of_62 - 62)))));
    return _mm256_add_epi8(digits, offset);
}

avx2 static inline __m256i base64_within(__m256i c, int first, int last)
{
    return _mm256_and_si256(_mm256_cmpgt_epi8(c, _mm256_set1_epi8((char)(first - 1))),
                            _mm256_cmpgt_epi8(_mm256_set1_epi8((char)(last + 1)), c));
}

/* 32 characters to digits; `*valid` loses the bits of those that are none. */
avx2 static inline __m256i base64_digits_32(__m256i c, base64_variant variant, __m256i *valid)
{
    __m256i upper = base64_within(c, 'A', 'Z'), lower = base64_within(c, 'a', 'z'), number = base64_within(c, '0', '9');
    __m256i is_62 = _mm256_cmpeq_epi8(c, _mm256_set1_epi8(variant.of_62));
    __m256i is_63 = _mm256_cmpeq_epi8(c, _mm256_set1_epi8(variant.of_63));
    __m256i offset = _mm256_or_si256(_mm256_and_si256(upper, _mm256_set1_epi8(-'A')),
                                     _mm256_and_si256(lower, _mm256_set1_epi8(26 - 'a')));
    offset = _mm256_or_si256(offset, _mm256_and_si256(number, _mm256_set1_epi8(52 - '0')));
    offset = _mm256_or_si256(offset, _mm256_and_si256(is_62, _mm256_set1_epi8((char)(62 - variant.of_62))));
    offset = _mm256_or_si256(offset, _mm256_and_si256(is_63, _mm256_set1_epi8((char)(63 - variant.of_63))));
    *valid = _mm256_and_si256(*valid, _mm256_or_si256(_mm256_or_si256(_mm256_or_si256(upper, lower), number),
                                                      _mm256_or_si256(is_62, is_63)));
    return _mm256_add_epi8(c, offset);
}

/* As many whole blocks as there are; answers how many bytes of `from` that was. Reads no byte behind `size`. */
avx2 static size_t base64_encode_avx2(uint8_t *to, const uint8_t *from, size_t size, base64_variant variant)
{
    /* Each lane of 12 bytes, spread so that each 32-bit word has the three bytes b of four digits as b1 b0 b2 b1. */
    const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0, 2, 1, 4, 3, 5, 4, 7,
                                            6, 8, 7, 10, 9, 11, 10);
    size_t i = 0;
    for (; i + 28 <= size; i += 24, to += 32) { /* the second load ends at i + 28 */
        __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(from + i))),
                                            _mm_loadu_si128((const __m128i *)(from + i + 12)), 1);
        v = _mm256_shuffle_epi8(v, spread);
        /* Digits 0 and 2 by a multiplication that shifts right by 10 and 6, digits 1 and 3 left by 4 and 8. */
        v = _mm256_or_si256(
            _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040)),
            _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010)));
        _mm256_storeu_si256((__m256i *)to, base64_characters_32(v, variant));
    }
    return i;
}

/* As many whole blocks as there are; answers how many characters that was. `to` may be `from`. */
avx2 static size_t base64_decode_avx2(uint8_t *to, const uint8_t *from, size_t size, base64_variant variant, int *bad)
{
    /* Of each 32-bit word the three bytes that hold anything, the highest first. */
    const __m256i gather = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6, 5, 4, 10,
                                            9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i close = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
    __m256i valid = _mm256_set1_epi8(-1);
    size_t i = 0;
    for (; i + 32 <= size; i += 32, to += 24) {
        __m256i v = base64_digits_32(_mm256_loadu_si256((const __m256i *)(from + i)), variant, &valid);
        v = _mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140)); /* pairs: 64 * first + second */
        v = _mm256_madd_epi16(v, _mm256_set1_epi32(0x00011000));    /* pairs of them: 4096 * first + second */
        v = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v, gather), close);
        _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(v));
        _mm_storel_epi64((__m128i *)(to + 16), _mm256_extracti128_si256(v, 1));
    }
    *bad |= _mm256_movemask_epi8(valid) != -1;
    return i;
}
#undef avx2
#else
static inline size_t base64_encode_avx2(uint8_t *to, const uint8_t *from, size_t size, base64_variant variant)
{
    (void)to, (void)from, (void)size, (void)variant;
    return 0;
}
static inline size_t base64_decode_avx2(uint8_t *to, const uint8_t *from, size_t size, base64_variant variant, int *bad)
{
    (void)to, (void)from, (void)size, (void)variant, (void)bad;
    return 0;
}
#endif

/* (size + 2) / 3 * 4 characters, padded. */
static inline void base64_encode(uint8_t *to, const uint8_t *from, size_t size, base64_variant variant)
{
    size_t i = has_avx2() ? base64_encode_avx2(to, from, size, variant) : 0;
    for (to += i / 3 * 4; i < size; i += 3, to += 4) {
        int rest = (int)(size - i);
        int bits = from[i] << 16 | (rest > 1 ? from[i + 1] << 8 : 0) | (rest > 2 ? from[i + 2] : 0);
        for (int k = 0; k < 4; k++)
            to[k] = (uint8_t)(k > rest ? '=' : base64_character(bits >> (18 - 6 * k) & 63, variant));
    }
}

/* `size` characters without padding, not one more than a multiple of four, to size * 3 / 4 bytes; `to` may be `from`.
 * Answers whether all are of the alphabet. */
static inline int base64_decode(uint8_t *to, const uint8_t *from, size_t size, base64_variant variant)
{
    int bad = 0;
    size_t i = has_avx2() ? base64_decode_avx2(to, from, size, variant, &bad) : 0;
    for (to += i / 4 * 3; i < size; i += 4, to += 3) {
        int rest = size - i < 4 ? (int)(size - i) : 4, bits = 0;
        for (int k = 0; k < 4; k++) {
            int digit = k < rest ? base64_digit(from[i + (size_t)k], variant) : 0;
            bad |= digit < 0;
            bits = bits << 6 | (digit & 63);
        }
        for (int k = 0; k < rest - 1; k++)
            to[k] = (uint8_t)(bits >> (16 - 8 * k));
    }
    return !bad;
}

#endif
