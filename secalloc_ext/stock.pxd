"""Layer 5: blocks that a thread has freed in its scope, wiped and at hand for its next object; inline.

Python makes and drops a small object every few dozen nanoseconds. A block of the stock stays a live object of the heap,
of all that its slot can hold, so that it costs no canary and no look for writes after free: those that the heap
promises are seen when the block goes back, at the end of the scope. A pointer is checked as in every free: it begins
a slot, which is live; but of a block in the stock, not whether it is freed twice.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from secalloc_ext.cache cimport heap_t
from secalloc_ext.chunk cimport reservation
from secalloc_ext.frame cimport KIND_SLAB, frame_kind, frame_t
from secalloc_ext.heap cimport heap_alloc, heap_free
from secalloc_ext.prim cimport FRAME_SHIFT, SLACK_MIN, likely, unlikely
from secalloc_ext.sizeclass cimport class_of_size, class_slot_bytes
from secalloc_ext.slot cimport STATE_LIVE, slot_index

cdef extern from *:
    """
    /* A multiple of 16, and 8 more; without a call, which costs as much as the rest. */
    static inline void stock_wipe(uint8_t *p, size_t capacity)
    {
        typedef uint64_t pair __attribute__((vector_size(16), may_alias));
        for (size_t i = 0; i < capacity - 8; i += 16) {
            *(pair *)(p + i) = (pair){0, 0};
            __asm__ volatile("" : : "r"(p) : "memory"); /* else it becomes a call of memset */
        }
        *(uint64_t *)(p + capacity - 8) = 0;
        __asm__ volatile("" : : "r"(p) : "memory");
    }
    """
    void stock_wipe(uint8_t *p, size_t capacity) noexcept nogil

cdef enum:
    STOCK_CLASSES = 17      # of slots: objects up to 520 bytes, as Python's own pools have up to 512
    STOCK_BYTES_MAX = 520
    STOCK_EACH = 255        # blocks of a class

cdef struct stock_t:
    heap_t *heap
    stock_t *next                           # of those that no thread has
    uint16_t capacity[STOCK_CLASSES]        # bytes that a block of the class holds
    uint8_t count[STOCK_CLASSES]
    void *blocks[STOCK_CLASSES][STOCK_EACH]  # zero, each


cdef inline void stock_open(stock_t *stock, heap_t *heap) noexcept nogil:
    """Make a stock of zeros an empty one."""
    cdef int i
    stock.heap = heap
    for i in range(STOCK_CLASSES):
        stock.capacity[i] = <uint16_t>(class_slot_bytes(i, False) - SLACK_MIN)


cdef inline void *stock_take(stock_t *stock, size_t size) noexcept nogil:
    """A zeroed block; NULL: heap_error()."""
    cdef unsigned size_class
    cdef uint8_t count
    if unlikely(size > STOCK_BYTES_MAX):
        return heap_alloc(stock.heap, size, False)
    size_class = class_of_size(size)
    count = stock.count[size_class]
    if likely(count):
        stock.count[size_class] = count - 1
        return stock.blocks[size_class][count - 1]
    return heap_alloc(stock.heap, stock.capacity[size_class], False)


cdef inline void stock_give(stock_t *stock, void *p) noexcept nogil:
    """Take a block, of any heap; into the stock, if it is one of those and there is room."""
    cdef frame_t *frame = reservation.frames + (<size_t>(<uint8_t *>p - reservation.base) >> FRAME_SHIFT)
    cdef unsigned size_class
    cdef uint8_t count
    if likely(frame_kind(frame) == KIND_SLAB and frame.bin < STOCK_CLASSES
              and frame.account == &stock.heap.account and not frame.care):
        size_class = frame.bin
        count = stock.count[size_class]
        if likely(count < STOCK_EACH
                  and frame.states[slot_index(frame, p)] == (STATE_LIVE | stock.capacity[size_class])):
            stock_wipe(<uint8_t *>p, stock.capacity[size_class])
            stock.blocks[size_class][count] = p
            stock.count[size_class] = count + 1
            return
    heap_free(p)


cdef inline void stock_close(stock_t *stock) noexcept nogil:
    """Give all of it back to the heap."""
    cdef int i
    for i in range(STOCK_CLASSES):
        while stock.count[i]:
            stock.count[i] -= 1
            heap_free(stock.blocks[i][stock.count[i]])
