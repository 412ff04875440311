"""TLS servers and clients whose OpenSSL is on secret pages, as programs: `tests/test_openssl_peers.py` runs them."""
