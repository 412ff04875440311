"""Copying a buffer of any layout into secret memory: the right bytes, and no copy of them elsewhere."""
import random

import numpy as np
import pytest
from support.children import succeed

from secalloc import SecureBytes

CUBE = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
LAYOUTS = {
    "one dimension": memoryview(bytes(range(100)))[::3],
    "backwards": memoryview(bytes(range(100)))[90:7:-2],
    "Fortran's order": np.asfortranarray(CUBE),
    "axes exchanged": CUBE.transpose(1, 2, 0),
    "a part": CUBE[::2, 1:3, ::-2],
    "a part of no items": CUBE[:, 4:, ::2],
    "rows apart": CUBE[:, 0, :],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_copy_holds_the_items_in_c_order(layout):
    plain = memoryview(layout).tobytes()
    assert SecureBytes(layout) == plain
    assert SecureBytes(plain) == layout
    key = SecureBytes(len(plain))
    key[:] = layout
    assert key == plain


@pytest.mark.parametrize("seed", range(20))
def test_any_part_of_any_array_is_copied_as_numpy_does(seed):
    pick = random.Random(seed)
    shape = [pick.randrange(1, 6) for _ in range(pick.randrange(1, 6))]
    array = np.frombuffer(pick.randbytes(8 * int(np.prod(shape))), dtype="u8").reshape(shape)
    array = array.transpose(pick.sample(range(len(shape)), len(shape)))
    array = array[tuple(slice(None, None, pick.choice([-2, -1, 1, 2])) for _ in shape)]
    assert SecureBytes(array) == array.tobytes()


@pytest.mark.parametrize("copy", ["SecureBytes(view)", "key.__setitem__(slice(None), view)", "key == view"])
@pytest.mark.parametrize("leaking", [False, True], ids=["ours", "the control"])
def test_a_copy_of_scattered_secret_bytes_leaves_none_in_ordinary_memory(copy, leaking):
    """All ordinary memory is searched for the secret, which is known here in a code only: it does not find itself."""
    found = succeed(
        """
        import os, sys
        from secalloc import Heap, SecureBytes
        secrets = Heap("secrets", backend="secretmem")  # where the backend is mlock, its pages are ordinary memory
        CODE = bytes(i ^ 0x55 for i in range(256))
        coded = os.urandom(24)
        scattered = SecureBytes(2 * 24 * 30)
        for i in range(24 * 30):
            scattered[2 * i] = coded[i % 24] ^ 0x55
        view, key = memoryview(scattered)[::2], SecureBytes(24 * 30, heap=secrets)
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        with open("/proc/self/maps") as file:
            lines = [line for line in file if " rw-p " in line and "secretmem" not in line]
        ranges = [[int(edge, 16) for edge in line.split()[0].split("-")] for line in lines]
        eval(sys.argv[1])
        kept = bytes(view) if sys.argv[2] == "True" else None
        print(sum(coded in os.pread(memory, end - first, first).translate(CODE) for first, end in ranges))
        """,
        copy,
        leaking,
    )
    assert (int(found) > 0) == leaking
