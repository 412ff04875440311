/* A function that leaves a copy on the stack, as careless libraries do. */
#include <string.h>

void leave(const char *p, size_t size)
{
    char copy[1 << 16];
    memcpy(copy, p, size < sizeof copy ? size : sizeof copy);
    __asm__ volatile("" : : "r"(copy) : "memory");
}
