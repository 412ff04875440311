"""Secrets that never are in ordinary memory on their way in. Run it: python examples/ways_in.py"""
import os
import tempfile

from secalloc import SecureBytes, kdf

# A token of the environment is gone from there, and from what /proc/self/environ shows.
os.environ["API_TOKEN"] = "for the example only"
token = SecureBytes.from_env("API_TOKEN")
print("token:", token, "still set:", "API_TOKEN" in os.environ)

# A key in base64, with its line end, from file to bytes on secret pages alone.
with tempfile.NamedTemporaryFile() as file:
    file.write(b"MDEyMzQ1Njc4OWFiY2RlZg==\n")
    file.flush()
    with SecureBytes.from_file(file.name, max_size=4096) as text:
        key = SecureBytes.from_base64(text, validate=False)
print("key:", key, "its text:", text)

# A subkey for each purpose. `kdf.argon2id` makes a key of a password: SecureBytes.from_prompt() asks for one.
for purpose in (b"encryption", b"signatures"):
    print(purpose.decode(), kdf.hkdf("sha256", key, 32, info=purpose))
