"""OpenSSL's private keys, and all else that it allocates, on secret pages.

::

    import secalloc.openssl
    secalloc.openssl.install()            # before anything imports ssl or hashlib

    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secalloc.openssl.load_cert_chain(context, "server.pem", "server.key")

A program that cannot be changed is started by ``python -m secalloc.openssl program.py ...``, or finds itself prepared
where ``python -m secalloc.openssl --write-hook`` was once called, and SECALLOC_OPENSSL=1 is in its environment.

This reduces leaks: what was measured, and what is not covered, is in docs/OPENSSL.md.
"""
from __future__ import annotations

import glob
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from secalloc import HeapStats, SecureBytes, TooLateError, UnsupportedError
from secalloc_ext import libcrypto
from secalloc_ext.libcrypto import Library

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from typing_extensions import Buffer

__all__ = ["LibraryStatus", "Status", "install", "load_cert_chain", "status"]

PYTHON_S = ("_ssl", "_hashlib")  # modules, which share one libcrypto in every build that is known
FILE_BYTES_MAX = 1 << 20  # of a certificate or a key; the longest there are have some 100 KiB

_libraries: dict[str, Library] = {}  # by the module that needs them
_forks_are_told = False


class LibraryStatus(NamedTuple):
    """`needed_by`: a module; `path`: where libcrypto's code is; `routed`: whether it allocates on secret pages."""

    needed_by: str
    path: str
    version: str
    routed: bool


class Status(NamedTuple):
    """What `status` answers. `heap` is None until a library is routed; its ``live_bytes`` are OpenSSL's."""

    libraries: tuple[LibraryStatus, ...]
    heap: HeapStats | None

    @property
    def routed(self) -> bool:
        """Whether the libcrypto of `ssl` and `hashlib` allocates on secret pages."""
        own = [each.routed for each in self.libraries if each.needed_by in PYTHON_S]
        return bool(own) and all(own)


def _file_of_cryptography() -> str:
    package = find_spec("cryptography")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise UnsupportedError("cryptography is not installed")
    here = os.path.join(glob.escape(folders[0]), "hazmat", "bindings")
    # Before 40.0 there were both, and OpenSSL in the first.
    files = [*glob.glob(os.path.join(here, "_openssl*.so")), *glob.glob(os.path.join(here, "_rust*.so"))]
    if not files:
        raise UnsupportedError(f"{folders[0]} has no hazmat/bindings/_rust*.so: no cryptography that is known")
    return files[0]


def _file_of(module: str) -> str:
    """The file of an extension module; "" for one that is part of the interpreter."""
    spec = find_spec(module)
    if spec is None:
        raise UnsupportedError(f"this Python has no {module}")
    return spec.origin if spec.has_location and spec.origin else ""


def _library(module: str) -> Library:
    """The libcrypto that a module needs; the module itself is not imported."""
    if module not in _libraries:
        _libraries[module] = Library(_file_of_cryptography() if module == "cryptography" else _file_of(module))
    return _libraries[module]


def install(
    *, limit: int | str | None = None, cryptography: bool = False, fork_warning: bool = False
) -> Status:
    """Have the libcrypto of `ssl` and `hashlib` allocate on secret pages, from here to the end of the process.

    Call it first of all: OpenSSL takes other functions for its memory only before it has allocated any. To call it
    again is no error, and changes nothing.

    Parameters
    ----------
    limit : most bytes of secret pages, as int or "4 MiB"; what is beyond fails in OpenSSL, as for want of memory
    cryptography : do the same for the OpenSSL that the `cryptography` package has linked in, by the symbol table of
        its file. Give it keys as DER in a SecureBytes: PEM and what is encrypted passes through Rust's memory
    fork_warning : from here on, `os.fork` warns (SecretMemoryWarning) when it copies OpenSSL's memory to a child

    Raises
    ------
    TooLateError : a module that is imported already has had OpenSSL allocate; it is named
    UnsupportedError : OpenSSL is older than 1.1.0, or cannot be found, or does not allocate where it was told to
    SecretMemoryUnavailable, MemlockLimitError : there is no secret memory

    Notes
    -----
    A forked child has copies of its own, as it could not make a digest without. Thread-safe once it has returned.
    """
    wanted = [name for name in PYTHON_S if find_spec(name)] + ["cryptography"] * cryptography
    if not wanted:
        raise UnsupportedError("this Python was built without OpenSSL")
    for library in [_library(name) for name in wanted]:  # all are found before any is changed
        library.route(limit)
    if fork_warning:
        _warn_of_forks()
    return status()


def status() -> Status:
    """Which libcryptos there are, whether they are routed, and what they have."""
    for name in PYTHON_S:
        if name not in _libraries and find_spec(name):
            _library(name)
    told = (LibraryStatus(name, each.path, each.version, each.routed) for name, each in _libraries.items())
    heap = libcrypto.heap()
    return Status(tuple(told), None if heap is None else heap.stats())


def _warn_of_forks() -> None:
    global _forks_are_told
    if _forks_are_told:
        return

    def warn() -> None:
        import warnings

        from secalloc import SecretMemoryWarning

        heap = libcrypto.heap()
        live = heap.stats().live_bytes if heap is not None else 0
        warnings.warn(
            f"this fork copies {live} bytes of OpenSSL's memory, keys among them, to the child",
            SecretMemoryWarning,
            stacklevel=2,
        )

    os.register_at_fork(before=warn)
    _forks_are_told = True


def load_cert_chain(
    context: ssl.SSLContext,
    certfile: str | os.PathLike[str],
    key: SecureBytes | str | os.PathLike[str] | None = None,
    password: SecureBytes | Buffer | str | Callable[[], SecureBytes | Buffer | str] | None = None,
) -> None:
    """As `ssl.SSLContext.load_cert_chain`, with no byte of the key in ordinary memory.

    Parameters
    ----------
    context : of a server, or of a client that has a certificate
    certfile : path of a PEM file: the certificate, then those up to the root that the other side needs
    key : the private key, PEM or DER, encrypted or not: a SecureBytes, or the path of a file, which is read straight
        into secret pages; None: it is in `certfile`
    password : of an encrypted key, best a SecureBytes; or a function that answers it, called only when given

    Raises
    ------
    TooLateError : `install` was not called
    ssl.SSLError : OpenSSL refuses certificate or key, or they do not belong together
    ValueError : the key is encrypted and no password given; or a file, or the key, has more than 1 MiB
    OSError : a file cannot be read
    UnsupportedError : this Python's contexts are not laid out as those that are known

    Notes
    -----
    After an error the context is as it was, unless OpenSSL refused the certificate or the key for its security level.
    Not to be called while another thread uses the context.
    """
    import ssl

    from secalloc_ext import tlskeys

    if not isinstance(context, ssl.SSLContext):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"an ssl.SSLContext is needed, not {type(context).__name__}")
    library = _library("_ssl")
    if not library.routed:
        raise TooLateError("secalloc.openssl.install() comes first: OpenSSL would copy the key to ordinary memory")
    certificates = SecureBytes.from_file(certfile, max_size=FILE_BYTES_MAX)
    if key is None:
        key = certificates
    elif isinstance(key, (str, os.PathLike)):
        key = SecureBytes.from_file(key, max_size=FILE_BYTES_MAX)
    elif not isinstance(key, SecureBytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the key is a SecureBytes or the path of a file, not {type(key).__name__}")
    if len(key) > FILE_BYTES_MAX:
        raise ValueError(f"the key has more than {FILE_BYTES_MAX} bytes")
    if callable(password):
        password = password()
    if isinstance(password, str):
        password = SecureBytes(password, "utf-8")
    tlskeys.load(library, context, certificates, key, password)


if __name__ == "__main__":
    from secalloc.starting import main

    sys.exit(main())
