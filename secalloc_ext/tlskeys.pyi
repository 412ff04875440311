import ssl

from typing_extensions import Buffer

from secalloc_ext.libcrypto import Library

def load(
    library: Library, context: ssl.SSLContext, certificates: Buffer, key: Buffer, password: Buffer | None
) -> None: ...
