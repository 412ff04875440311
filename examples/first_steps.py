"""A key, a file and an array in secret memory. Run it: python examples/first_steps.py"""
import hashlib
import tempfile

import secalloc
import secalloc.numpy as snp
from secalloc import SecureBytes

# Random bytes go from getrandom(2) straight into secret pages.
key = SecureBytes.random(32)
print(key, "held by", key.backend)

# A consumer of buffers takes it as it is, without a copy.
print("sha256:", hashlib.sha256(key).hexdigest()[:16], "...")

# A file is read by read(2) straight into secret pages.
with tempfile.NamedTemporaryFile() as file:
    file.write(b"a token from a file")
    file.flush()
    with SecureBytes.from_file(file.name) as token:
        print("token:", token, "equal:", token == b"a token from a file")
    print("after the block:", token)

# Array data, and every temporary made in the block.
with snp.secure_arrays():
    template = snp.ones(512) * 2 + 1
print("array on secret pages:", snp.is_secret(template), "sum", template.sum())

figures = secalloc.stats()
print(f"{figures.live} live objects, {figures.live_bytes} bytes, {figures.committed} bytes of secret pages")
