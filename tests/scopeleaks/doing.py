"""The modules that the operations use, imported before any secret comes, and what needs more than an expression."""
# ruff: noqa: F401  used by the operations' code
import array
import ast
import asyncio
import base64
import binascii
import bz2
import codecs
import collections
import configparser
import contextvars
import copy
import csv
import ctypes
import dataclasses
import decimal
import email
import fractions
import functools
import getpass
import gzip
import hashlib
import hmac
import html
import http.cookies
import io
import json
import logging
import lzma
import marshal
import math
import mmap
import os
import pathlib
import pickle
import pty
import random
import re
import socket
import sqlite3
import ssl
import statistics
import string
import struct
import subprocess
import sys
import textwrap
import threading
import tomllib
import traceback
import unicodedata
import urllib.parse
import uuid
import warnings
import xml.dom.minidom
import xml.etree.ElementTree
import zlib


def file_of(secret):
    """The name of a file with these bytes, which is in the kernel's memory; closed with the process."""
    fd = os.memfd_create("secret")
    os.write(fd, secret)
    return f"/proc/self/fd/{fd}"


@dataclasses.dataclass
class Login:
    password: str


def doing_dataclass(text):
    return dataclasses.asdict(Login(text))


@functools.lru_cache
def _cached(text):
    return text + "!"


def doing_cached(text):
    answer = _cached(text)
    _cached.cache_clear()
    return answer


def doing_coroutine(text):
    async def work():
        await asyncio.sleep(0)
        return text + "?"

    return asyncio.run(work())


def doing_generator(text):
    return sorted(text[i : i + 15] for i in range(0, 30, 3))


def doing_context(text):
    variable = contextvars.ContextVar("secret")
    context = contextvars.copy_context()
    context.run(variable.set, text + "c")
    return context[variable]


def doing_csv(text):
    file = io.StringIO()
    csv.writer(file).writerow([text, text + ","])
    return file.getvalue()


def doing_xml(text):
    root = xml.etree.ElementTree.Element("a")
    root.text = text
    return xml.etree.ElementTree.tostring(root)


def doing_ini(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(f"[a]\nb = {text}\n")
    return parser["a"]["b"]


def doing_sqlite(text):
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a text)")
    connection.execute("insert into t values (?)", [text])
    found = connection.execute("select a || 'x' from t").fetchall()
    connection.close()
    return found


def doing_bio(data):
    bio = ssl.MemoryBIO()
    bio.write(data)
    return bio.read()


def doing_write(text):
    with open(f"/proc/self/fd/{os.memfd_create('out')}", "w") as file:
        file.write(text)
        file.write(text)


def doing_os_read(path):
    fd = os.open(path, os.O_RDONLY)
    found = os.read(fd, 100)
    os.close(fd)
    return found


def doing_print(text):
    with open(os.devnull, "w") as file:
        print(text, file=file)


def doing_socket(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        return theirs.recv(100)


def doing_socket_file(data):
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("r") as file:
        ours.sendall(data + b"\n")
        return file.readline()


def doing_recv_into(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        buffer = bytearray(100)
        theirs.recv_into(buffer)
        return buffer


def doing_getpass(data):
    """From a terminal of its own."""
    controller, terminal = pty.openpty()
    os.write(controller, data + b"\n")
    with open(terminal) as file:
        found = getpass._raw_input("", stream=io.StringIO(), input=file)
    os.close(controller)
    return found


def doing_asyncio_stream(data):
    async def work():
        ours, theirs = socket.socketpair()
        reader, _ = await asyncio.open_connection(sock=ours)
        _, writer = await asyncio.open_connection(sock=theirs)
        writer.write(data)
        writer.close()
        return await reader.read()

    return asyncio.run(work())


def doing_environ(text):
    os.environ["SECRET"] = text
    return os.environ.pop("SECRET") + "e"


def doing_logging(text):
    logger, file = logging.Logger("secret"), io.StringIO()
    logger.addHandler(logging.StreamHandler(file))
    logger.warning("password %s", text)
    return file.getvalue()


def doing_traceback(text):
    try:
        raise ValueError(text)
    except ValueError:
        return traceback.format_exc()


def doing_warning(text):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn(text, stacklevel=1)
        return str(seen[0].message)


def doing_thread(text):
    """Of which the thread itself is in no scope."""
    found = []
    thread = threading.Thread(target=lambda: found.append(len(text)))
    thread.start()
    thread.join()
    return found
