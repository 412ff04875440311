"""SecureBytes beside bytearray, and beside what else Python offers for secrets; one operation at one size."""
import hmac

import pytest

from secalloc import SecureBytes
from secalloc.pypeers import find_python_peers

SIZES = [32, 1024, 65536]
TYPES = [bytearray, SecureBytes]
PEERS = find_python_peers()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", TYPES)
def test_made_and_dropped(benchmark, make, size):
    benchmark.group = f"made and dropped, {size} bytes"
    benchmark(make, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("peer", PEERS, ids=[each.name for each in PEERS])
def test_made_of_bytes_and_let_go(benchmark, there, peer, size):
    benchmark.group = f"made of bytes and let go, {size} bytes"
    benchmark(there(peer).cycle, bytes(size))


@pytest.mark.parametrize("compare", [hmac.compare_digest, SecureBytes.__eq__])
def test_compared_in_constant_time(benchmark, compare):
    benchmark.group = "compared in constant time, 32 bytes"
    benchmark(compare, SecureBytes(32), SecureBytes(32))
