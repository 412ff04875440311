/* rng.h for the tests. */
#include "rng.h"

void fill(struct rng *rng) { rng_fill(rng); }
