"""`python -m opensslpeers serving|asking ARGUMENT...`: one of the modules beside this, and OpenSSL routed before it."""
import sys
from importlib import import_module

from secalloc import openssl

openssl.install()
import_module(f"opensslpeers.{sys.argv[1]}").main(*sys.argv[2:])
