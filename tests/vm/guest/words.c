/* The loop of search.py: which 8-byte words of a buffer may be parts of needles, by a filter of their codes.
 *
 * A word is coded by a multiplication, where it lies. The highest bits of the code are its place in the filter.
 */
#include <stddef.h>
#include <stdint.h>

#define FILTER_BITS 20 /* 128 KiB */

static size_t place_of(uint64_t code)
{
    return (size_t)(code >> (64 - FILTER_BITS));
}

/* `filter`: 2**20 bits, zeros at first. */
void filter_add(uint64_t *filter, uint64_t code)
{
    filter[place_of(code) >> 6] |= (uint64_t)1 << (place_of(code) & 63);
}

/* How many of the `count` words may be parts of needles: their indices go to `found`, which has room for `count`. */
size_t words_code_and_filter(uint64_t *words, size_t count, uint64_t factor, const uint64_t *filter, uint32_t *found)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t code = words[i] * factor;
        const size_t place = place_of(code);
        words[i] = code;
        if (filter[place >> 6] >> (place & 63) & 1)
            found[n++] = (uint32_t)i;
    }
    return n;
}
