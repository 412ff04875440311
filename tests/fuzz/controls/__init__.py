"""Targets that are broken on purpose: what the fuzzer is to find. `test_fuzz.py` runs them as `--target
controls.NAME`."""
