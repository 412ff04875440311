"""Layer 4: text from secret bytes and back, by codecs of our own: Python's leave ordinary copies."""
from secalloc_ext.heapobject cimport Heap

cdef enum codec_t:
    CODEC_UTF8
    CODEC_ASCII
    CODEC_LATIN1

cdef enum errors_t:
    ERRORS_STRICT
    ERRORS_IGNORE
    ERRORS_REPLACE
    ERRORS_SURROGATEESCAPE
    ERRORS_SURROGATEPASS      # what json.loads asks for

cdef int revealcodecs_codec(object encoding) except -1          # these two may run Python code
cdef int revealcodecs_errors(object errors) except -1
cdef object revealcodecs_decode(Heap heap, const unsigned char *data, Py_ssize_t size, int codec, int errors)
cdef object revealcodecs_encode(object revealed, int codec, int errors)
