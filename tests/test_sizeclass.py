"""Layer 2: which slot a size gets."""
import pytest

from secalloc_ext.heapobject import slot_bytes

SMALL_BYTES_MAX = 16392
SLACK_MIN = 8
SIZES = range(SMALL_BYTES_MAX + 1)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lined"])
def slots(request):
    return [slot_bytes(size, lined=request.param) for size in SIZES]


@pytest.fixture(scope="module")
def plain_slots():
    return [slot_bytes(size) for size in SIZES]


@pytest.fixture(scope="module")
def lined_slots():
    return [slot_bytes(size, lined=True) for size in SIZES]


def test_every_small_size_leaves_room_for_the_canary(slots):
    assert all(slot - size >= SLACK_MIN for size, slot in enumerate(slots))


def test_a_larger_size_never_gets_a_smaller_slot(slots):
    assert slots == sorted(slots)


def test_every_slot_is_aligned_to_sixteen_bytes(slots):
    assert all(slot % 16 == 0 for slot in slots)


def test_every_plain_slot_is_the_smallest_that_holds_its_size(plain_slots):
    classes = sorted(set(plain_slots))
    for size, slot in enumerate(plain_slots):
        assert slot == next(each for each in classes if each >= size + SLACK_MIN)


def test_every_lined_slot_is_whole_cache_lines(lined_slots):
    assert all(slot % 64 == 0 for slot in lined_slots)


def test_a_lined_slot_is_the_plain_one_rounded_up_to_cache_lines(plain_slots, lined_slots):
    assert lined_slots == [-(-slot // 64) * 64 for slot in plain_slots]


def test_small_slots_come_in_steps_of_sixteen_bytes(plain_slots):
    assert sorted({slot for slot in plain_slots if slot <= 128}) == list(range(16, 129, 16))


def test_larger_slots_come_four_to_a_doubling_and_a_canary(plain_slots):
    nominal = [step << shift for shift in range(5, 12) for step in range(4, 8)] + [16384]
    assert sorted({slot for slot in plain_slots if slot > 128}) == [each + 16 for each in nominal]


def test_at_most_a_fifth_of_a_slot_above_128_bytes_is_waste(plain_slots):
    for size, slot in enumerate(plain_slots):
        if slot > 144:
            assert slot - size - SLACK_MIN <= slot // 5


@pytest.mark.parametrize("power", range(7, 15))
def test_a_power_of_two_and_its_canary_share_a_slot(power):
    assert slot_bytes(1 << power) == (1 << power) + 16


@pytest.mark.parametrize("size", [SMALL_BYTES_MAX + 1, 1 << 20, 2**63 - 1, 2**64])
def test_a_size_above_the_largest_class_has_no_slot(size):
    assert slot_bytes(size) is None
    assert slot_bytes(size, lined=True) is None


def test_a_negative_size_is_refused():
    with pytest.raises((OverflowError, ValueError)):
        slot_bytes(-1)
