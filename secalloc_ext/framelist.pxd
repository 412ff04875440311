"""Layer 2: lists of frame records, doubly linked through `next` and `previous`. The lock of the list's heap is held."""
from secalloc_ext.frame cimport frame_t


cdef inline void framelist_push(frame_t **head, frame_t *frame) noexcept nogil:
    frame.previous = NULL
    frame.next = head[0]
    if frame.next != NULL:
        frame.next.previous = frame
    head[0] = frame


cdef inline void framelist_remove(frame_t **head, frame_t *frame) noexcept nogil:
    if frame.previous != NULL:
        frame.previous.next = frame.next
    else:
        head[0] = frame.next
    if frame.next != NULL:
        frame.next.previous = frame.previous
