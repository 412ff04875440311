"""The process in which a library uses a secret: `python -m consumers.child CASE FORM`, in a folder with chain.pem.

It reads the secret, 32 bytes, from its standard input straight into secret pages, hands it over in the form asked for,
and writes one line of JSON: null, or why the library did not take it. It lives until its standard input ends.

A control, "kept", keeps an ordinary copy: whoever does not find that one looks in the wrong way.
"""
import gc
import json
import os
import sys

from consumers.cases import CASES
from secalloc import SecureBytes

FORMS = {
    "SecureBytes": lambda key, text: key,
    "reveal": lambda key, text: key.reveal_str() if text else key.reveal(),
    "ordinary": lambda key, text: bytes(key).decode() if text else bytes(key),
}
FORMS["kept"] = FORMS["ordinary"]


def main(name: str, form: str) -> None:
    case = CASES[name]
    use = case.prepare()
    key = SecureBytes(32)
    os.readv(0, [key])
    secret = FORMS[form](key, case.text)
    refused = None
    try:
        use(secret)
    except Exception as error:
        refused = f"{type(error).__name__}: {error}"
        del error
    if form != "kept":
        del secret
    del use
    gc.collect()
    print(json.dumps(refused), flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
