"""From sockets, plain and TLS, and back."""
import errno
import os
import socket
import ssl
import threading

import pytest
from support.compiler import certificate
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import Heap, SecureBytes, WipedError, stats


@pytest.fixture
def pair():
    with socket.socketpair() as ours, socket.socketpair() as theirs:
        yield ours, theirs
