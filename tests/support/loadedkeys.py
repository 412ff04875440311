"""A program that loads a private key, signs with it and drops it: what is found of the key meanwhile, from outside.

The programs given are the middle of it: they have the file's bytes as `data` and the password or None, on secret pages
where `mode` is "secalloc", and call `step` with a name when they are to be looked through.
"""
import os
import subprocess
import sys
import textwrap

from opensslleaks import keys

from secalloc.scan import fragments
from support.children import TESTS

SIGNATURES = 20
KEPT = {"RSA-2048": {"p", "q", "R^2 mod p"}, "P-256": {"scalar"}, "Ed25519": {"seed"}}  # by OpenSSL, once it has signed
START = f"""
import gc, os, sys
mode, path, form, *arguments = sys.argv[1:]
def step(name):
    print(name, flush=True)
    os.read(0, 1)
if mode == "secalloc":
    from secalloc import SecureBytes
    data, password = SecureBytes.from_file(path), SecureBytes.from_file(0, size={len(keys.PASSWORD)})
else:
    with open(path, "rb", buffering=0) as file:
        data = bytearray(file.read())
    password = os.read(0, {len(keys.PASSWORD)})
if "encrypted" not in form:
    password = None
"""
CRYPTOGRAPHY = f"""
if mode == "secalloc":
    import secalloc.openssl
    assert secalloc.openssl.install(cryptography=True).routed
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
if "revealed" in arguments:
    data = data.reveal()
if "decoded" in arguments:
    data, form = SecureBytes.from_base64(data.split(b"-----")[2], validate=False), "DER"
key = (load_pem_private_key if "PEM" in form else load_der_private_key)(data, password)
how = {{"RSA": (padding.PKCS1v15(), hashes.SHA256()), "Ed2": ()}}
step("loaded")
for _ in range({SIGNATURES}):
    key.sign(b"message", *how.get(type(key).__name__.lstrip("_")[:3], (ec.ECDSA(hashes.SHA256()),)))
step("signed")
if "told" in arguments:
    kept = key.private_bytes_raw()
    step("told")
key = data = password = kept = None
gc.collect()
step("dropped")
"""


def one_of_each(folder):
    return {kind: keys.make(kind, folder) for kind in keys.KINDS}


def found(program, key, form, mode, *arguments, first_on_path=()):
    """By step, the names of what is found, in either byte order.

    Libraries' functions are bound at the start: later, the first call of one saves all registers on the stack.
    """
    paths = os.pathsep.join(map(str, [*first_on_path, TESTS]))
    by_step, wanted = {}, key.wanted()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", START + textwrap.dedent(program), mode, key.files[form], form, *arguments],
        env=os.environ | {"PYTHONPATH": paths, "SECALLOC_BACKEND": "secretmem", "LD_BIND_NOW": "1"},
        cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    ) as child:  # fmt: skip
        child.stdin.write(keys.PASSWORD.encode())
        for line in child.stdout:
            names = {hit.needle.removesuffix(", little-endian") for hit in fragments(child.pid, wanted)}
            by_step[line.decode().strip()] = names
            child.stdin.write(b".")
    assert child.returncode == 0
    assert {"loaded", "signed", "dropped"} <= by_step.keys()
    return by_step


def nothing(by_step):
    return not any(by_step.values())
