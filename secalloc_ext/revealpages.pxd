"""Layer 3: pages for revealed bytes, and the stock of used ones; which process this is."""
from libc.stdint cimport uint8_t, uint64_t
from secalloc_ext.frame cimport account_t, frame_t
from secalloc_ext.large cimport large_pool_t

cdef struct reveal_stock_t:        # one a heap, guarded by its account's lock
    frame_t *free                  # wiped, open; linked by `next`, the last freed first
    size_t count
    size_t committed               # their mapped bytes; at most STOCK_BYTES_MAX, but for what cannot be released

cdef uint64_t *reveal_here         # 0 in a child whose handlers have not run, made by raw clone(2); NULL: refuse

cdef uint8_t *reveal_take(reveal_stock_t *stock, large_pool_t *pool, account_t *account,
                          size_t size) noexcept nogil          # a payload of `size` bytes, all to be filled; or NULL
cdef void reveal_give(reveal_stock_t *stock, large_pool_t *pool, uint8_t *payload) noexcept nogil   # checked and wiped
cdef void reveal_drop(reveal_stock_t *stock, large_pool_t *pool) noexcept nogil    # lock held: release all of the stock
cdef void reveal_forget(reveal_stock_t *stock) noexcept nogil                      # in a child: there is none
cdef frame_t *reveal_inherited(frame_t *since) noexcept nogil                      # NULL: the first; then the next
