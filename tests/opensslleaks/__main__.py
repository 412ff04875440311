"""What a TLS server leaves of its private key, measured with this Python: `python tests/opensslleaks`.

Writes docs/OPENSSL.md, from what was measured here and what is kept of other Pythons.
"""
import ssl
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from opensslleaks import keys, measuring, report

HANDSHAKES = 1000
FORMS = ("PEM", "encrypted PEM", "DER", "encrypted DER")
CONTROLS = ("PEM", "encrypted PEM")  # the forms that Python's own load_cert_chain takes


def main():
    servers = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in keys.KINDS:
            key = keys.make(kind, Path(folder))
            for mode, forms in (("ordinary", CONTROLS), ("secalloc", FORMS)):
                for form in forms:
                    found = measuring.measured(key, form, mode, HANDSHAKES)
                    servers[f"{kind}, {form}, {mode}"] = found
                    told = (f"{step}: {', '.join(report.values(found[step])) or 0}" for step in measuring.STEPS)
                    print(kind, form, mode, *told, sep=" | ", flush=True)
    report.keep([ssl.OPENSSL_VERSION.split()[1], HANDSHAKES], servers)
    report.write()


if __name__ == "__main__":
    main()
