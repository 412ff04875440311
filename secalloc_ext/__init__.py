"""The compiled core of secalloc. Import `secalloc`; the layers are described in docs/ARCHITECTURE.md."""
