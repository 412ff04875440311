"""What `import secalloc` brings along."""
import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True).stdout
    return set(output.split())


def test_import_brings_neither_numpy_nor_any_user_of_libcrypto() -> None:
    assert not {"numpy", "ssl", "_ssl", "hashlib", "_hashlib", "hmac", "secrets"} & modules_after("import secalloc")


def test_the_same_look_finds_them_where_they_are_imported() -> None:
    assert {"numpy", "_hashlib"} <= modules_after("import secalloc.numpy, hashlib")
