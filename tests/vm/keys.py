"""TLS keys for the holders, made here, and coded: the guest's files hold no byte of them in plain.

Each holder has keys of its own, so that what is found tells whose it is. Looked for are the numbers that OpenSSL keeps
of a key, in its byte order: p of RSA, the scalar of P-256.
"""
from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opensslleaks import keys as made

from secalloc.holder import needle_of

__all__ = ["HOLDERS", "KINDS", "coded_keys"]

KINDS = {"RSA-2048": "p", "P-256": "scalar"}  # and the number that is looked for
HOLDERS = ("ordinary", "secret")


def _coded(kind: str, number: str, folder: Path) -> dict[str, Any]:
    key = made.make(kind, folder)
    content = {form: key.files[form].read_bytes() for form in ("PEM", "DER")}
    value = made.numbers(content["DER"])[number][::-1]
    coded = {form: asdict(needle_of(form, data, 0)) for form, data in content.items()}
    return {"certificate": key.certificate.read_text(), **coded, "number": asdict(needle_of(number, value, 0))}


def coded_keys() -> dict[str, dict[str, dict[str, Any]]]:
    """By holder and kind: the certificate; coded, the key as PEM and DER, and the number."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for holder in HOLDERS:
        with tempfile.TemporaryDirectory() as folder:
            found[holder] = {kind: _coded(kind, number, Path(folder)) for kind, number in KINDS.items()}
    return found
