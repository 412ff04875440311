"""No method leaves a copy of the secret, nor of its result, in ordinary memory."""
import json

import pytest
from support.children import succeed
from support.uses import USES

# The secrets and the results are known to the child in a code only: it does not find itself.
PROGRAM = """
    import gc, json, os
    from secalloc import Heap, SecureBytes
    from support.uses import USES

    CODE, WORD = bytes(i ^ 0x55 for i in range(256)), 24
    heap = Heap("secrets", backend="secretmem")  # where the backend is mlock, its pages are ordinary memory
    memory = os.open("/proc/self/mem", os.O_RDONLY)

    def secret():
        "Three words of random letters, and some that the methods look for."
        key = SecureBytes(b"-" * WORD + b", " + b"-" * WORD + b"\\t" + b"-" * WORD + b" horse", heap=heap)
        for i in range(len(key)):
            if key[i] == 45:
                key[i] = 97 + os.urandom(1)[0] % 26
        return key

    def coded(one):
        return bytes(byte ^ 0x55 for byte in one[:WORD])

    def words(key):
        return {coded(key), coded(key[WORD + 2 :]), coded(key[2 * WORD + 3 :])}

    def needles(answer):
        "What to look for of an answer, and of those in a list."
        if isinstance(answer, (list, tuple)):
            return set().union(*map(needles, answer))
        return {coded(answer)} if isinstance(answer, SecureBytes) and len(answer) >= WORD else set()

    def found(needles):
        gc.collect()
        with open("/proc/self/maps") as file:
            lines = [line for line in file if " rw-p " in line and "secretmem" not in line]
        for line in lines:
            first, end = (int(edge, 16) for edge in line.split()[0].split("-"))
            content = os.pread(memory, end - first, first).translate(CODE)
            if any(needle in content for needle in needles):
                return True
        return False

    told = {}
    for name, use in USES.items():
        key = secret()
        own = words(key)
        made = use(key)
        own |= words(key)
        ours = found(needles(made) | own)
        plain = bytearray(key)
        kept = use(bytearray(key)) if name != "freeze" else None
        told[name] = ours, found(needles(made)) if needles(made) else None, found(own)
        del plain, kept
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    """By use: whether anything was found after it; after the same with a bytearray, the result, and itself."""
    return json.loads(succeed(PROGRAM))


@pytest.mark.parametrize("name", USES)
def test_a_method_leaves_no_copy_in_ordinary_memory(told, name):
    ours, result_of_bytearray, bytearray_itself = told[name]
    assert not ours
    assert result_of_bytearray in (True, None)  # the control; None: the answer has nothing secret
    assert bytearray_itself


def test_most_methods_answer_what_a_scan_would_find(told):
    assert sum(result is True for _, result, _ in told.values()) > 30


@pytest.mark.parametrize("search", ["key.find(needle)", "needle in key", "key.split(needle)", "key.count(needle)"])
def test_a_search_leaves_no_table_of_a_secret_needle_on_the_stack(search):
    """glibc's memmem makes one: of two bytes that follow each other, a hash, and where that is. It tells the needle.
    How much of it is on the stack, after our search, and after a plain one, which is the control."""
    ours, plain = json.loads(
        succeed(
            """
            import ctypes, json, os, sys
            from secalloc import SecureBytes
            CODE = bytes(i ^ 0x55 for i in range(256))
            key, needle = SecureBytes.random(1_000), SecureBytes.random(200)
            table = [0] * 256
            for i in range(1, len(needle) - 1):
                table[(needle[i] - (needle[i - 1] << 3)) % 256] = i ^ 0x55
            memory = os.open("/proc/self/mem", os.O_RDONLY)
            with open("/proc/self/maps") as file:
                line = next(line for line in file if "[stack]" in line)
            first, end = (int(edge, 16) for edge in line.split()[0].split("-"))
            memmem = ctypes.CDLL(None).memmem
            memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t] * 2
            memmem.restype = ctypes.c_void_p

            def found():
                "The part of the table that is in one place."
                stack = os.pread(memory, end - first, first).translate(CODE)
                used = [(i, table[i]) for i in range(256) if table[i]]
                places = range(0, len(stack) - 256, 16)
                return max(sum(stack[at + i] == it for i, it in used) for at in places) / len(used)

            eval(sys.argv[1])
            ours = found()
            views = (ctypes.c_char * 1_000).from_buffer(key), (ctypes.c_char * 200).from_buffer(needle)
            memmem(ctypes.addressof(views[0]), 1_000, ctypes.addressof(views[1]), 200)
            print(json.dumps([ours, found()]))
            """,
            search,
        )
    )
    assert ours < 0.5 < plain
