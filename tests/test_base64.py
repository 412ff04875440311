"""Base64 from and to secret pages, beside the standard library's."""
import base64
import binascii
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import capi, maps
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import Heap, ProtectedError, SecureBytes, WipedError

SIZES = [*range(130), 1_000, 4_095, 65_536, 100_001]  # vectors of 24 bytes and 32 characters begin and end anywhere
ALPHABETS = {False: string.ascii_letters + string.digits + "+/", True: string.ascii_letters + string.digits + "-_"}


def pattern(size):
    return bytes((i * 89 + (i >> 8) * 7 + size) & 255 for i in range(size))


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_encoded_and_decoded_as_by_the_standard_library(size):
    for data in (pattern(size), bytes(size), b"\xff" * size):
        for urlsafe, encode in ((False, base64.b64encode), (True, base64.urlsafe_b64encode)):
            text = SecureBytes(data).base64(urlsafe=urlsafe)
            assert text == encode(data)
            assert SecureBytes.from_base64(text, urlsafe=urlsafe) == data
            assert SecureBytes.from_base64(bytes(text).decode(), urlsafe=urlsafe) == data


@pytest.mark.parametrize("urlsafe", ALPHABETS)
@pytest.mark.parametrize("at", range(40))  # by vectors, and one by one behind them
def test_at_any_place_the_alphabet_is_taken_and_nothing_else(urlsafe, at):
    text = bytearray(b"Ab0z" * 10)
    for byte in range(256):
        text[at] = byte
        if chr(byte) in ALPHABETS[urlsafe]:
            altchars = b"-_" if urlsafe else None
            assert SecureBytes.from_base64(text, urlsafe=urlsafe) == base64.b64decode(bytes(text), altchars)
        elif not (chr(byte) == "=" and at == 39):
            with pytest.raises(binascii.Error):
                SecureBytes.from_base64(text, urlsafe=urlsafe)


def outcome(call, *arguments, **named):
    try:
        return bytes(call(*arguments, **named))
    except ValueError as error:
        return type(error)


@given(st.text("Aa0+/=z", max_size=16) | st.binary(max_size=12) | st.binary(max_size=90).map(base64.b64encode))
@example("0000=")
def test_what_is_no_base64_is_refused_where_the_standard_library_refuses_it(text):
    """Padding that nothing needs is refused here; there by some versions only."""
    plain = text.encode() if isinstance(text, str) else text
    if plain.endswith(b"=") and len(plain.rstrip(b"=")) % 4 == 0:
        assert outcome(SecureBytes.from_base64, text) is binascii.Error
    else:
        assert outcome(SecureBytes.from_base64, text) == outcome(base64.b64decode, text, validate=True)


@given(st.binary(max_size=90), st.lists(st.tuples(st.integers(0, 130), st.sampled_from(" \t\r\n.!-_\x00\x80"))))
def test_others_than_the_alphabet_are_skipped_if_so_wished(data, others):
    text = base64.b64encode(data).decode("latin-1")
    for at, other in others:
        text = text[:at] + other + text[at:]
    text = text.encode("latin-1")
    assert SecureBytes.from_base64(text, validate=False) == base64.b64decode(text) == data
    with_others = text != base64.b64encode(data)
    assert outcome(SecureBytes.from_base64, text) == (binascii.Error if with_others else data)


@given(st.binary(max_size=70))
def test_padding_may_be_left_out_of_the_urlsafe_form_alone(data):
    text = base64.urlsafe_b64encode(data).rstrip(b"=")
    assert SecureBytes.from_base64(text, urlsafe=True) == data
    if len(data) % 3:
        with pytest.raises(binascii.Error, match="padding"):
            SecureBytes.from_base64(base64.b64encode(data).rstrip(b"="))


@pytest.mark.parametrize("text", ["AA=", "A", "AAAAA", "AA=A", "====", "=", "AAAA=", "AAA==", "AA==="])
def test_wrong_padding_is_an_error_in_either_form(text):
    for urlsafe in (False, True):
        with pytest.raises(binascii.Error):
            SecureBytes.from_base64(text, urlsafe=urlsafe)


def test_an_error_does_not_quote_the_text():
    with pytest.raises(ValueError, match="no base64 digit") as caught:
        SecureBytes.from_base64("c2VjcmV0!GFzc3dvcmQx")
    assert "c2V" not in str(caught.value)


def test_a_str_that_is_not_ascii_is_a_value_error():
    for text in ("\u20acAAA", "AAA\xe9"):
        with pytest.raises(ValueError, match="ASCII"):
            SecureBytes.from_base64(text)
        with pytest.raises(ValueError, match="ASCII"):
            base64.b64decode(text)


@pytest.mark.parametrize("data", [None, 5, 1.5, [65]])
def test_another_type_is_a_type_error(data):
    with pytest.raises(TypeError):
        SecureBytes.from_base64(data)


def test_any_buffer_is_decoded():
    text = base64.b64encode(b"correct horse")
    scattered = memoryview(bytes(byte for c in text for byte in (c, 0)))[::2]
    for data in (bytearray(text), memoryview(text), SecureBytes(text), scattered):
        assert SecureBytes.from_base64(data) == b"correct horse"


def test_the_source_stays_as_it_was():
    text = SecureBytes(b"c2VjcmV0")
    assert SecureBytes.from_base64(text) == b"secret"
    assert text == b"c2VjcmV0"


def test_text_and_bytes_lie_on_secret_pages_of_the_heap_asked_for():
    heap = Heap("own")
    key = SecureBytes.from_base64("c2VjcmV0", heap=heap)
    text = key.base64()
    assert key.heap is text.heap is heap
    assert heap.stats().live_bytes == 6 + 8
    for made in (key, text):
        assert maps.mapping_at(capi.address_of(made)).is_secret
    with pytest.raises(binascii.Error):
        SecureBytes.from_base64("c2Vj?mV0" * 100, heap=heap)
    assert heap.stats().live == 2


def test_one_that_may_not_be_read_is_not_encoded():
    key = SecureBytes(b"secret", guarded=True)
    key.noaccess()
    with pytest.raises(ProtectedError):
        key.base64()
    key.wipe()
    with pytest.raises(WipedError):
        key.base64()
    with pytest.raises(WipedError):
        SecureBytes.from_base64(key)
