"""One call or more of each method that SecureBytes has of bytes and bytearray. A text has an "e", a comma and a tab."""

TABLE = bytes(reversed(range(256)))
USES = {
    "find": lambda key: key.find(b"horse"), "rfind": lambda key: key.rfind(b"e"), "index": lambda key: key.index(101),
    "rindex": lambda key: key.rindex(b"e", 2), "count": lambda key: key.count(b"t"),
    "startswith": lambda key: key.startswith((b"x", b"Corr")), "startswith none": lambda key: key.startswith(()),
    "endswith": lambda key: key.endswith(b"staple"),
    "split": lambda key: key.split(b","), "split not at all": lambda key: key.split(b",", 0),
    "words": lambda key: key.split(), "rsplit": lambda key: key.rsplit(b","),
    "rsplit not at all": lambda key: key.rsplit(b",", 0), "words from behind": lambda key: key.rsplit(None, 1),
    "splitlines": lambda key: key.splitlines(), "partition": lambda key: key.partition(b","),
    "partition without": lambda key: key.partition(b"?"), "rpartition": lambda key: key.rpartition(b","),
    "rpartition without": lambda key: key.rpartition(b"?"), "strip": lambda key: key.strip(b"Ce"),
    "lstrip": lambda key: key.lstrip(b"C"), "rstrip": lambda key: key.rstrip(),
    "removeprefix": lambda key: key.removeprefix(b"Correct"), "removesuffix": lambda key: key.removesuffix(b"?"),
    "ljust": lambda key: key.ljust(70), "rjust": lambda key: key.rjust(70), "center": lambda key: key.center(70, b"*"),
    "zfill": lambda key: key.zfill(70), "expandtabs": lambda key: key.expandtabs(),
    "replace": lambda key: key.replace(b"r", b"rr"), "translate": lambda key: key.translate(TABLE, b"e"),
    "join": lambda key: key.join([b"a", key, b"b"]), "hex": lambda key: key.hex(),
    "hex in groups": lambda key: key.hex(":"), "addition": lambda key: key + b"more",
    "addition behind": lambda key: b"more" + key, "addition twice": lambda key: key + key,
    "repetition": lambda key: key * 3, "membership": lambda key: b"horse" in key, "iteration": iter,
    "upper": lambda key: key.upper(), "lower": lambda key: key.lower(), "title": lambda key: key.title(),
    "swapcase": lambda key: key.swapcase(), "capitalize": lambda key: key.capitalize(),
    "isascii": lambda key: key.isascii(),
    "istitle": lambda key: key.istitle(), "islower": lambda key: key.islower(), "freeze": lambda key: key.freeze(),
    "reverse": lambda key: key.reverse(),
}  # fmt: skip
