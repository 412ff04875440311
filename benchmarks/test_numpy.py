"""Arrays on secret pages beside numpy's own allocator; one operation at one size. Temporaries count."""
from contextlib import nullcontext

import numpy as np
import pytest

import secalloc.numpy as snp

SIZES = {"4 KiB": 4 << 10, "1 MiB": 1 << 20, "16 MiB": 16 << 20}
OPERATIONS = {
    "zeros": lambda a: np.zeros(a.size),
    "copy": lambda a: a.copy(),
    "a * 2 + 1": lambda a: a * 2 + 1,
    "sort": np.sort,
}


@pytest.mark.parametrize("where", ["numpy", "secret pages"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation(benchmark, operation, size, where):
    benchmark.group = f"{operation}, {size}"
    secret = where != "numpy"
    with snp.secure_arrays() if secret else nullcontext():
        array = np.arange(SIZES[size] // 8, dtype=float)
        assert snp.is_secret(array) == secret
        benchmark(OPERATIONS[operation], array)
