"""Layer 4: the methods of revealed objects. Behind its import the types are complete, and take more."""
from secalloc_ext.revealtype cimport type_t

cdef int revealmethods_add(type_t *type, object name, dict methods) except -1    # functions, or staticmethods
