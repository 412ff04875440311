# cython: language_level=3
"""Layer 5: a certificate and its private key into an `ssl.SSLContext`, read where they are: on secret pages.

What OpenSSL makes of them it allocates there too, as its libcrypto must be routed. The `SSL_CTX` behind Python's
object is that object's first field on every Python from 3.11 to 3.15. That this is so is found out before anything is
done with it, once, on a context made for it: the field must be a block that libcrypto allocated for that context, and
options that are set by Python must be what OpenSSL then says of it.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from secalloc_ext.libcrypto cimport Library, crypto_watch, watch_t
from secalloc_ext.residue cimport residue_wipe_all

from secalloc_ext.errors import UnsupportedError

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    """
    void *memmem(const void *p, size_t size, const void *wanted, size_t wanted_size) nogil

ctypedef int (*password_t)(char *to, int room, int writing, void *password) noexcept nogil

# OpenSSL's types, all of which are only passed on.
ctypedef void BIO
ctypedef void EVP_PKEY
ctypedef void SSL_CTX
ctypedef void X509

cdef enum:
    SSL_CTRL_CHAIN = 88
    SSL_CTRL_CHAIN_CERT = 89      # with a number that is not 0, the certificate stays the caller's as well
    CHAIN_MAX = 64                # certificates
    ERR_LIB_PEM = 9
    PEM_NO_START_LINE = 108

cdef struct functions_t:
    BIO *(*bio_new)(const void *p, int size) noexcept nogil
    int (*bio_free)(BIO *) noexcept nogil
    EVP_PKEY *(*pem_key)(BIO *, EVP_PKEY **, password_t, void *) noexcept nogil
    EVP_PKEY *(*der_key)(EVP_PKEY **, const unsigned char **, long) noexcept nogil
    EVP_PKEY *(*der_key_encrypted)(BIO *, EVP_PKEY **, password_t, void *) noexcept nogil
    X509 *(*pem_certificate)(BIO *, X509 **, password_t, void *) noexcept nogil
    X509 *(*pem_certificate_trusted)(BIO *, X509 **, password_t, void *) noexcept nogil
    int (*matches)(X509 *, EVP_PKEY *) noexcept nogil
    void (*key_free)(EVP_PKEY *) noexcept nogil
    void (*certificate_free)(X509 *) noexcept nogil
    int (*use_certificate)(SSL_CTX *, X509 *) noexcept nogil
    int (*use_key)(SSL_CTX *, EVP_PKEY *) noexcept nogil
    long (*control)(SSL_CTX *, int command, long number, void *p) noexcept nogil
    uint64_t (*options)(const SSL_CTX *) noexcept nogil
    int (*verify_mode)(const SSL_CTX *) noexcept nogil
    unsigned long (*error_last)() noexcept nogil
    void (*error_clear)() noexcept nogil
    const char *(*error_reason)(unsigned long) noexcept nogil

cdef functions_t functions
cdef Library known = None     # whose functions they are; the layout has been found to be as said above

# What is known of a password while OpenSSL asks for it.
cdef struct secret_t:
    const char *data
    Py_ssize_t size           # -1: there is none
    bint is_asked_for
    bint is_too_long


cdef int password_give(char *to, int room, int writing, void *password) noexcept nogil:
    """Of keys; certificates have none."""
    cdef secret_t *secret = <secret_t *>password
    if secret == NULL:
        return -1
    secret.is_asked_for = True
    if secret.size < 0:
        return -1
    if secret.size > room:
        secret.is_too_long = True
        return -1
    memcpy(to, secret.data, <size_t>secret.size)
    return <int>secret.size


cdef int learn(Library library) except -1:
    """Its functions, from the libcrypto and libssl that the file behind it needs."""
    functions.bio_new = <BIO *(*)(const void *, int) noexcept nogil>library.function(b"BIO_new_mem_buf")
    functions.bio_free = <int (*)(BIO *) noexcept nogil>library.function(b"BIO_free")
    functions.pem_key = <EVP_PKEY *(*)(BIO *, EVP_PKEY **, password_t, void *) noexcept nogil>(
        library.function(b"PEM_read_bio_PrivateKey"))
    functions.der_key = <EVP_PKEY *(*)(EVP_PKEY **, const unsigned char **, long) noexcept nogil>(
        library.function(b"d2i_AutoPrivateKey"))
    functions.der_key_encrypted = <EVP_PKEY *(*)(BIO *, EVP_PKEY **, password_t, void *) noexcept nogil>(
        library.function(b"d2i_PKCS8PrivateKey_bio"))
    functions.pem_certificate = <X509 *(*)(BIO *, X509 **, password_t, void *) noexcept nogil>(
        library.function(b"PEM_read_bio_X509"))
    functions.pem_certificate_trusted = <X509 *(*)(BIO *, X509 **, password_t, void *) noexcept nogil>(
        library.function(b"PEM_read_bio_X509_AUX"))
    functions.matches = <int (*)(X509 *, EVP_PKEY *) noexcept nogil>library.function(b"X509_check_private_key")
    functions.key_free = <void (*)(EVP_PKEY *) noexcept nogil>library.function(b"EVP_PKEY_free")
    functions.certificate_free = <void (*)(X509 *) noexcept nogil>library.function(b"X509_free")
    functions.use_certificate = <int (*)(SSL_CTX *, X509 *) noexcept nogil>(
        library.function(b"SSL_CTX_use_certificate"))
    functions.use_key = <int (*)(SSL_CTX *, EVP_PKEY *) noexcept nogil>library.function(b"SSL_CTX_use_PrivateKey")
    functions.control = <long (*)(SSL_CTX *, int, long, void *) noexcept nogil>library.function(b"SSL_CTX_ctrl")
    functions.options = <uint64_t (*)(const SSL_CTX *) noexcept nogil>library.function(b"SSL_CTX_get_options")
    functions.verify_mode = <int (*)(const SSL_CTX *) noexcept nogil>library.function(b"SSL_CTX_get_verify_mode")
    functions.error_last = <unsigned long (*)() noexcept nogil>library.function(b"ERR_peek_last_error")
    functions.error_clear = <void (*)() noexcept nogil>library.function(b"ERR_clear_error")
    functions.error_reason = <const char *(*)(unsigned long) noexcept nogil>(
        library.function(b"ERR_reason_error_string"))
    return 0


cdef inline SSL_CTX *first_field(object context) noexcept:
    return (<SSL_CTX **>(<char *><PyObject *>context + sizeof(PyObject)))[0]


cdef bint says_the_same(object context) except -1:
    """Whether OpenSSL says of the first field what Python says of the context."""
    cdef SSL_CTX *field = first_field(context)
    return (functions.options(field) & 0xFFFFFFFF == int(context.options) & 0xFFFFFFFF
            and functions.verify_mode(field) & 3 == {0: 0, 1: 1, 2: 3}[int(context.verify_mode)])


cdef bint layout_is_known() except -1:
    """On a context made for this, which is thrown away."""
    import ssl

    cdef watch_t watch
    cdef size_t i
    cdef SSL_CTX *field
    if ssl._ssl._SSLContext.__basicsize__ < <Py_ssize_t>(sizeof(PyObject) + sizeof(void *)):
        return False
    crypto_watch(&watch)
    try:
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    finally:
        crypto_watch(NULL)
    field = first_field(probe)
    for i in range(watch.count):
        if watch.blocks[i] == field and field != NULL:
            break
    else:
        return False
    for option in (ssl.OP_NO_TICKET, ssl.OP_SINGLE_ECDH_USE, ssl.OP_CIPHER_SERVER_PREFERENCE):
        for mode in (ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED, ssl.CERT_NONE):
            probe.options ^= option
            probe.verify_mode = mode
            if not says_the_same(probe):
                return False
    return True


cdef SSL_CTX *context_behind(Library library, object context) except NULL:
    global known
    if known is None:
        learn(library)
        if not layout_is_known():
            raise UnsupportedError("this Python's ssl.SSLContext has its SSL_CTX elsewhere than every one known here")
        known = library
    if known is not library:
        raise UnsupportedError("ssl has another OpenSSL than before")
    if first_field(context) == NULL or not says_the_same(context):
        raise UnsupportedError("this ssl.SSLContext is not what OpenSSL says of it")
    return first_field(context)


cdef object openssl_error(str what):
    """An `ssl.SSLError` for the last error of this thread's OpenSSL; clears all of them."""
    import ssl

    cdef unsigned long code = functions.error_last()
    cdef const char *text = functions.error_reason(code) if code else NULL
    reason = (<bytes>text).decode(errors="replace") if text != NULL else "unknown error"
    functions.error_clear()
    error = ssl.SSLError(code & 0xFFF, f"{what}: {reason}")
    error.reason = reason.upper().replace(" ", "_")
    return error


cdef EVP_PKEY *key_read(const unsigned char *data, Py_ssize_t size, bint is_pem, secret_t *password) noexcept nogil:
    """NULL: see OpenSSL's errors."""
    cdef const unsigned char *at = data
    cdef EVP_PKEY *key = NULL
    cdef BIO *bio
    if not is_pem:
        key = functions.der_key(NULL, &at, size)
        if key != NULL or password.size < 0:
            return key
        functions.error_clear()
    bio = functions.bio_new(data, <int>size)
    if bio == NULL:
        return NULL
    if is_pem:
        key = functions.pem_key(bio, NULL, password_give, password)
    else:
        key = functions.der_key_encrypted(bio, NULL, password_give, password)
    functions.bio_free(bio)
    return key


cdef int chain_read(BIO *bio, X509 **chain) noexcept nogil:
    """All certificates, up to CHAIN_MAX. Answers how many; -1: see OpenSSL's errors."""
    cdef int count = 0
    cdef unsigned long code
    while count < CHAIN_MAX:
        chain[count] = (functions.pem_certificate if count else functions.pem_certificate_trusted)(
            bio, NULL, password_give, NULL)
        if chain[count] == NULL:
            break
        count += 1
    code = functions.error_last()
    # Where the number of the library begins differs between OpenSSL 1.1.1 and 3.
    if count and (code == 0 or (code & 0xFFF) == PEM_NO_START_LINE and ERR_LIB_PEM in (code >> 23 & 0xFF, code >> 24)):
        functions.error_clear()
        return count
    chain_free(chain, count)
    return -1


cdef int chain_read_from(Py_buffer *view, X509 **chain) noexcept nogil:
    cdef int count
    cdef BIO *bio = functions.bio_new(view.buf, <int>view.len)
    if bio == NULL:
        return -1
    count = chain_read(bio, chain)
    functions.bio_free(bio)
    return count


cdef void chain_free(X509 **chain, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        functions.certificate_free(chain[i])


cdef const char *settle(SSL_CTX *context, X509 **chain, int count, EVP_PKEY *key) noexcept nogil:
    """Use the first certificate, the key, and the others as the first one's chain. Answers what failed, or NULL. Until
    certificate and key are known to belong together the context is as it was."""
    cdef int i
    if not functions.matches(chain[0], key):
        return "the private key is not the certificate's"
    if not functions.use_certificate(context, chain[0]):
        return "the certificate is refused"
    if not functions.use_key(context, key):
        return "the private key is refused"
    if not functions.control(context, SSL_CTRL_CHAIN, 0, NULL):
        return "the chain of before cannot be replaced"
    for i in range(1, count):
        if not functions.control(context, SSL_CTRL_CHAIN_CERT, 1, chain[i]):
            return "a certificate of the chain is refused"
    return NULL


cdef bint holds_pem(const unsigned char *data, Py_ssize_t size) noexcept:
    """Whether there is a PEM block: DER begins with a sequence, and its length rules out that it is text."""
    cdef const char *begin = b"-----BEGIN "
    return memmem(data, <size_t>size, begin, 11) != NULL


def load(Library library not None, context, certificates, key, password):
    """Have the context use a certificate, its chain and its key.

    Parameters
    ----------
    library : the one that is routed, of `_ssl`
    context : an ssl.SSLContext
    certificates : a buffer of PEM, the server's own certificate first
    key : a buffer of PEM or DER
    password : a buffer, or None. All three are read to their end before this returns

    Raises
    ------
    ssl.SSLError : OpenSSL refuses one of them, or the key is not the certificate's; then the context is as it was
    ValueError : the key is encrypted, and no password given, or one that is too long
    UnsupportedError : the context's SSL_CTX cannot be told for certain
    """
    cdef SSL_CTX *behind = context_behind(library, context)
    cdef Py_buffer certificate_view, key_view, password_view
    cdef secret_t secret
    cdef EVP_PKEY *private = NULL
    cdef X509 *chain[CHAIN_MAX]
    cdef int count
    cdef bint is_pem
    cdef const char *failed
    secret.data, secret.size, secret.is_asked_for, secret.is_too_long = NULL, -1, False, False
    PyObject_GetBuffer(key, &key_view, PyBUF_SIMPLE)
    try:
        if password is not None:
            PyObject_GetBuffer(password, &password_view, PyBUF_SIMPLE)
            secret.data, secret.size = <const char *>password_view.buf, password_view.len
        is_pem = holds_pem(<const unsigned char *>key_view.buf, key_view.len)
        with nogil:
            functions.error_clear()
            private = key_read(<const unsigned char *>key_view.buf, key_view.len, is_pem, &secret)
    finally:
        if secret.data != NULL:
            PyBuffer_Release(&password_view)
        PyBuffer_Release(&key_view)
    failed = "the private key cannot be read"
    try:
        if private != NULL:
            PyObject_GetBuffer(certificates, &certificate_view, PyBUF_SIMPLE)
            count = chain_read_from(&certificate_view, chain)
            PyBuffer_Release(&certificate_view)
            failed = "the certificate cannot be read"
            if count > 0:
                failed = settle(behind, chain, count, private)
                chain_free(chain, count)
    finally:
        if private != NULL:
            functions.key_free(private)
        residue_wipe_all()
    if failed == NULL:
        return
    error = openssl_error((<bytes>failed).decode())
    if secret.is_too_long:
        raise ValueError("the password is longer than OpenSSL takes") from error
    if secret.is_asked_for and secret.size < 0:
        raise ValueError("the private key is encrypted, and no password is given") from error
    raise error
