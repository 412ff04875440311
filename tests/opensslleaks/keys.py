"""Private keys made with the openssl program, and everything secret that there is to be found of one."""
import base64
import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_der_private_key

from secalloc.scan import Wanted

KINDS = {
    "RSA-2048": ("RSA", "rsa_keygen_bits:2048"),
    "P-256": ("EC", "ec_paramgen_curve:P-256"),
    "Ed25519": ("ED25519", None),
}
PASSWORD = "correct horse battery staple"
WIDTH = 16  # bytes that must lie together
LIMB_BITS = 64


@dataclass(frozen=True)
class Key:
    """`files`: by form, the paths of the key; `certificate`: of a self-signed one for localhost."""

    kind: str
    certificate: Path
    files: dict[str, Path]

    def wanted(self) -> list[Wanted]:
        """Every secret value in both byte orders, and what it was read from: as text, and with DER's heads."""
        der = self.files["DER"].read_bytes()
        found = []
        values = numbers(der)
        for name, value in values.items():
            found.append(Wanted(name, value, WIDTH))
            found.append(Wanted(f"{name}, little-endian", value[::-1], WIDTH))
        first = der.index(values["p" if self.kind == "RSA-2048" else "scalar" if self.kind == "P-256" else "seed"])
        found.append(Wanted("DER", der[first - WIDTH + 4 : first + WIDTH - 4], WIDTH))
        # From the first secret byte on: what is before is in the certificate as well, and may be coded alike.
        start = der.index(values.get("d", der[first : first + WIDTH]))
        text = self.files["PEM"].read_bytes().partition(b"-----\n")[2].partition(b"-----")[0]
        secret = start // 3 * 4 + 4
        found.append(Wanted("PEM", text[secret + secret // 64 :], WIDTH))
        found.append(Wanted("password", PASSWORD.encode(), WIDTH))
        return found


def numbers(der: bytes) -> dict[str, bytes]:
    """The secret values of a key, big-endian, by name."""
    key = load_der_private_key(der, None)
    kind = type(key).__name__
    if "Ed25519" in kind:
        seed = key.private_bytes_raw()
        digest = hashlib.sha512(seed).digest()
        clamped = bytes([digest[0] & 248, *digest[1:31], digest[31] & 63 | 64])
        return {"seed": seed, "scalar": clamped[::-1], "prefix": digest[32:]}
    if "RSA" not in kind:
        return {"scalar": key.private_numbers().private_value.to_bytes(32, "big")}
    private = key.private_numbers()
    values = {"d": private.d, "p": private.p, "q": private.q, "dp": private.dmp1, "dq": private.dmq1,
              "qinv": private.iqmp}  # fmt: skip
    for prime in ("p", "q"):  # what OpenSSL keeps for multiplying modulo it
        limbs = -(-values[prime].bit_length() // LIMB_BITS)
        values[f"R^2 mod {prime}"] = pow(2, 2 * LIMB_BITS * limbs, values[prime])
    return {name: value.to_bytes(-(-value.bit_length() // 8), "big") for name, value in values.items()}


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


def make(kind: str, folder: Path) -> Key:
    """A new key, in files of every form, and a certificate of it."""
    algorithm, option = KINDS[kind]
    name = re.sub(r"\W", "", kind).lower()
    files = {form: folder / f"{name}.{form.split()[0].lower()}.key" for form in ("PEM", "encrypted PEM", "DER")}
    files["encrypted DER"] = folder / f"{name}.encrypted-der.key"
    certificate = folder / f"{name}.pem"
    openssl("genpkey", "-algorithm", algorithm, *(("-pkeyopt", option) if option else ()), "-out", files["PEM"])
    files["DER"].write_bytes(base64.b64decode(files["PEM"].read_text().split("-----")[2]))
    secret = ("-topk8", "-v2", "aes-256-cbc", "-passout", f"pass:{PASSWORD}", "-in", files["PEM"])
    openssl("pkcs8", *secret, "-out", files["encrypted PEM"])
    openssl("pkcs8", *secret, "-outform", "DER", "-out", files["encrypted DER"])
    openssl("req", "-new", "-x509", "-key", files["PEM"], "-days", "30", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-out", certificate)  # fmt: skip
    return Key(kind, certificate, files)
