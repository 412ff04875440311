"""SecureBytes beside bytearray: each group is one operation, its rows are to be read as ratios within one run.

    .venv/bin/pip install '.[bench]' && .venv/bin/pytest benchmarks
"""
import hmac

import pytest

from secalloc import SecureBytes

SIZES = [32, 1024, 65536]
TYPES = [bytearray, SecureBytes]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", TYPES)
def test_made_and_dropped(benchmark, make, size):
    benchmark.group = f"made and dropped, {size} bytes"
    benchmark(make, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", TYPES)
def test_copied_from_bytes(benchmark, make, size):
    benchmark.group = f"copied from bytes, {size} bytes"
    benchmark(make, bytes(size))


@pytest.mark.parametrize("compare", [hmac.compare_digest, SecureBytes.__eq__])
def test_compared_in_constant_time(benchmark, compare):
    benchmark.group = "compared in constant time, 32 bytes"
    benchmark(compare, SecureBytes(32), SecureBytes(32))
