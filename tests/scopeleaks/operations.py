"""What is done with secret text, bytes and numbers, and those: a subject of `leaktable`.

A new operation is a line in `_LINES`. Its code is an expression of the names of `MADE`, each made in the block from
secret bytes; what needs more than an expression is a function of `doing`.
"""
import ast
import base64
import contextlib
import platform
import struct
from pathlib import Path

from leaktable import Operation

from scopeleaks import doing
from secalloc import SecureBytes, scope
from secalloc.leaks import limbs, marker
from secalloc_ext.windows import Windows

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parent.parent / "docs" / "SCOPE.md"
WARM = True  # modules load much at a first call
BLOCKS = {
    "ordinary": lambda heap: contextlib.nullcontext(),
    "bare": lambda heap: scope(stack=False),
    "scope": lambda heap: scope(),
}
TITLES = {"ordinary": "ordinary", "bare": "`scope(stack=False)`", "scope": "`scope()`"}


def versions():
    return platform.python_version()


# --- the secrets ---


def inputs(heap):
    """48 letters, 45 decimal digits, and a number from 1 to 2: as bytes on secret pages."""
    letters = marker(48, heap)
    digits, real = (SecureBytes.random(size, heap=heap) for size in (45, 8))
    for i in range(45):
        digits[i] = 49 + digits[i] % 9
    real[6] = 0xF0 | real[6] & 15
    real[7] = 0x3F
    return {"letters": letters, "digits": digits, "real": real}


def ordinary(secrets):
    return {name: bytearray(data) for name, data in secrets.items()}


def coded(data, heap):
    pad = SecureBytes.random(len(data), heap=heap)
    result = SecureBytes(len(data), heap=heap)
    for i in range(len(data)):
        result[i] = data[i] ^ pad[i]
    return pad, result


def rebuilt(name, data):
    return data


# By the name in an operation's code: what it is made of, and how.
MADE = {
    "data": ("letters", bytes),
    "text": ("letters", lambda letters: bytes(letters).decode()),
    "digits": ("digits", lambda digits: bytes(digits).decode()),
    "real": ("real", lambda real: struct.unpack("<d", real)[0]),
    "document": ("letters", lambda letters: f'{{"user": "me", "password": "{bytes(letters).decode()}", "old": [1]}}'),
    "path": ("letters", doing.file_of),
}


def used_by(operation):
    return {node.id for node in ast.walk(ast.parse(operation.code)) if isinstance(node, ast.Name)} & set(MADE)


def names(operation, secrets):
    return vars(doing) | {name: MADE[name][1](secrets[MADE[name][0]]) for name in used_by(operation)}


# --- what is looked for ---


def words(number):
    """A Decimal's digits, 19 of them in a word."""
    found = []
    while number:
        number, word = divmod(number, 10**19)
        found.append(word)
    return struct.pack(f"<{len(found)}Q", *found)


def forms_of_text(kind, text, width):
    """UTF-8, and the wider kinds of str."""
    return [(kind, text, width, 1), (kind, text.decode("latin-1").encode("utf-16-le"), 2 * width, 2),
            (kind, text.decode("latin-1").encode("utf-32-le"), 4 * width, 4)]  # fmt: skip


def forms_of_number(kind, number):
    return [(kind, limbs(number), 8, 4), (kind, words(number), 8, 8)] if number >> 60 else []


def forms_of_result(value, known):
    """Of text, if the secret is not in it as it is, which is looked for; what is around it may be anywhere."""
    if isinstance(value, str | bytes | bytearray):
        text = value.encode() if isinstance(value, str) else bytes(value)
        return [] if any(secret in text for secret in known) else [("result", text, 12, 1)]
    if isinstance(value, bool):
        return []
    if isinstance(value, int):
        return [form for form in forms_of_number("result", abs(value)) if form[3] == 4]
    if isinstance(value, float):
        return [("result", struct.pack("<d", value), 8, 8)]
    if isinstance(value, list | tuple):
        return [form for each in value for form in forms_of_result(each, known)]
    if isinstance(value, dict):
        return [form for each in value.values() for form in forms_of_result(each, known)]
    return []


def is_telling(form):
    try:
        return bool(Windows([form[1]], *form[2:]))
    except ValueError:
        return False


def forms(operation, secrets):
    """The secrets that the operation is given, in all the forms that its kind comes in, and what it answers."""
    given = {MADE[name][0] for name in used_by(operation)}
    letters, digits, real = (bytes(secrets[name]) for name in ("letters", "digits", "real"))
    found = []
    if "letters" in given:
        found += forms_of_text("secret", letters, 12)
        found += [("secret", base64.b64encode(b"x" * i + letters)[4:-4], 12, 1) for i in range(3)]
        found += [("secret", letters.hex().encode(), 16, 1), ("secret", letters.hex().upper().encode(), 16, 1)]
        for order in ("big", "little"):
            found += forms_of_number("secret", int.from_bytes(letters, order))
    if "digits" in given:
        found += forms_of_text("secret", digits, 16) + forms_of_number("secret", int(digits))
    if "real" in given:
        number = struct.unpack("<d", real)[0]
        found += [("secret", real, 8, 1), ("secret", repr(number).encode()[2:], 14, 1)]
    found += forms_of_result(eval(operation.code, names(operation, secrets)), (letters, digits))
    return [form for form in found if is_telling(form)]


def kept(operation, wanted):
    """The kinds that the control is to find: its inputs at any rate, and an answer, which is kept."""
    return {form[0] for form in wanted}


# --- what is done ---

C_LIBRARY = "a C library's own memory"
KERNEL = "another process, or its environment"
HASHES = "the state of Python's own hashes, in malloc's memory"
_LINES = (
    # json
    ("json", "json.loads(document)"), ("json", "json.loads(document.encode())"),
    ("json", "json.loads(document)['password']"), ("json", "json.dumps(text)"),
    ("json", "json.dumps({'a': [text]}, indent=1)"), ("json", "json.dumps(real)"), ("json", "json.loads(digits)"),
    ("json", "json.load(io.StringIO(document))"), ("json", "list(json.JSONEncoder().iterencode([text]))"),
    ("json", "json.loads(json.dumps(repr(real)))"),
    # str
    ("str", "'Bearer ' + text"), ("str", "f'{text}:{text}'"), ("str", "'user=%s' % text"),
    ("str", "'{}'.format(text)"), ("str", "','.join([text, text])"), ("str", "text.split('a')"),
    ("str", "text.replace('a', '--')"), ("str", "text.upper()"), ("str", "text.upper().split('a')"),
    ("str", "text.strip('Aa')"), ("str", "text[3:40]"), ("str", "text[::-1]"), ("str", "text.zfill(80)"),
    ("str", "text.center(90)"), ("str", "text.encode()"), ("str", "text.encode('utf-16')"),
    ("str", "text.translate({97: 'xyz'})"), ("str", "text.casefold()"), ("str", "repr(text)"),
    ("str", "text + '\\u20ac'"), ("str", "text + '\\U0001f511'"), ("str", "text.partition('b')"),
    ("str", "text.splitlines()"), ("str", "text * 3"), ("str", "{text: 1}[text]"), ("str", "hash(text) and None"),
    ("str", "sorted(text)"), ("str", "text == text[:-1] + 'x'"),
    ("str", "unicodedata.normalize('NFKD', text + '\\xe9')"), ("str", "text.isidentifier()"),
    ("str", "sys.intern(text[1:])"), ("str", "string.Template('$a').substitute(a=text)"),
    ("str", "textwrap.fill(text, 20)"), ("str", "ascii(text + '\\xe9')"),
    # bytes
    ("bytes", "data + b'x'"), ("bytes", "b','.join([data, data])"), ("bytes", "data.hex()"),
    ("bytes", "bytes.fromhex(data.hex())"), ("bytes", "data.replace(b'a', b'--')"), ("bytes", "data.split(b'a')"),
    ("bytes", "data[2:40]"), ("bytes", "bytearray(data)"), ("bytes", "bytearray(data) + data * 20"),
    ("bytes", "bytes(memoryview(data)[1:])"), ("bytes", "data.decode('latin-1')"),
    ("bytes", "data.translate(None, b'a')"), ("bytes", "b'%s' % data"), ("bytes", "list(data)"),
    ("bytes", "data.center(90)"), ("bytes", "array.array('B', data).tobytes()"),
    ("bytes", "struct.unpack('48s', data)"), ("bytes", "ctypes.create_string_buffer(data).raw"),
    # re
    ("re", "re.findall('..', text)"), ("re", "re.sub('a', 'bb', text)"), ("re", "re.match('(.*)(.)', text).groups()"),
    ("re", "re.split('[ab]', text)"), ("re", "re.compile(text).pattern"), ("re", "re.escape(text)"),
    ("re", "re.search(text, 'x' + text)"), ("re", "re.findall(b'...', data)"),
    # base64
    ("base64", "base64.b64encode(data)"), ("base64", "base64.b64decode(base64.b64encode(data))"),
    ("base64", "base64.urlsafe_b64encode(data)"), ("base64", "base64.b32encode(data)"),
    ("base64", "base64.b85encode(data)"), ("base64", "base64.a85encode(data)"), ("base64", "binascii.hexlify(data)"),
    ("base64", "codecs.encode(text, 'rot13')"), ("base64", "urllib.parse.quote(text + '/')"),
    ("base64", "urllib.parse.urlencode({'a': text})"), ("base64", "html.escape(text + '<')"),
    # numbers
    ("numbers", "int(digits)"), ("numbers", "int(digits) * 3"), ("numbers", "int(digits) ** 3"),
    ("numbers", "pow(int(digits), 5, 10 ** 50 + 1)"), ("numbers", "str(int(digits) + 1)"),
    ("numbers", "hex(int(digits))"), ("numbers", "int.from_bytes(data)"), ("numbers", "int.from_bytes(data) * 3"),
    ("numbers", "int.from_bytes(data, 'little').to_bytes(50)"), ("numbers", "divmod(int(digits), 10 ** 20)"),
    ("numbers", "int(text.encode().hex(), 16)"), ("numbers", "real * 2.5"), ("numbers", "repr(real)"),
    ("numbers", "float(repr(real))"), ("numbers", "math.sqrt(real)"), ("numbers", "[real + i for i in range(50)]"),
    ("numbers", "sum([real] * 9)"), ("numbers", "format(real, '.12f')"), ("numbers", "complex(real, 1) * 2"),
    ("numbers", "struct.pack('d', real)"), ("numbers", "fractions.Fraction(real)"),
    ("numbers", "statistics.mean([real, real])"), ("numbers", "decimal.Decimal(digits)"),
    ("numbers", "decimal.Decimal(digits) * 3"), ("numbers", "str(decimal.Decimal(digits).sqrt())"),
    ("numbers", "str(decimal.Decimal(real))"),
    # containers
    ("containers", "copy.deepcopy([text, {text: data}])"), ("containers", "pickle.dumps([text, data])"),
    ("containers", "pickle.loads(pickle.dumps([text, data]))"), ("containers", "marshal.dumps(text)"),
    ("containers", "collections.Counter(text).total()"), ("containers", "collections.deque([text])"),
    ("containers", "doing_dataclass(text)"), ("containers", "repr(doing_dataclass(text))"),
    ("containers", "doing_cached(text)"), ("containers", "ast.literal_eval(repr(text))"),
    ("containers", "eval(repr(text))"), ("containers", "doing_coroutine(text)"),
    ("containers", "doing_generator(text)"), ("containers", "doing_context(text)"),
    # documents
    ("documents", "doing_csv(text)"), ("documents", "next(csv.reader([f'a,{text},b']))"),
    ("documents", "doing_xml(text)"),
    ("documents", "xml.etree.ElementTree.tostring(xml.etree.ElementTree.fromstring(f'<a>{text}</a>'))"),
    ("documents", "xml.dom.minidom.parseString(f'<a b=\"{text}\">x</a>').toxml()", "expat's buffers"),
    ("documents", "tomllib.loads(f'a = \"{text}\"')"), ("documents", "doing_ini(text)"),
    ("documents", "doing_sqlite(text)", "SQLite's own memory"),
    ("documents", "email.message_from_string(f'A: {text}\\n\\n{text}').as_string()"),
    ("documents", "http.cookies.SimpleCookie(f'a={text}').output()"),
    # compression
    ("compression", "zlib.compress(data)", C_LIBRARY),
    ("compression", "zlib.decompress(zlib.compress(data * 9))", C_LIBRARY),
    ("compression", "bz2.decompress(bz2.compress(data))", C_LIBRARY),
    ("compression", "lzma.decompress(lzma.compress(data))", C_LIBRARY),
    ("compression", "gzip.decompress(gzip.compress(data))", C_LIBRARY),
    # hashes
    ("hashes", "hashlib.sha256(data).hexdigest()"), ("hashes", "hashlib.blake2b(data, key=data).digest()", HASHES),
    ("hashes", "hashlib.md5(data * 3).digest()"), ("hashes", "hashlib.pbkdf2_hmac('sha256', data, b'salt', 9)"),
    ("hashes", "hashlib.scrypt(data, salt=b's', n=16, r=1, p=1)"),
    ("hashes", "hmac.new(data, b'x', 'sha256').hexdigest()"), ("hashes", "hmac.digest(data, b'x', 'sha256')"),
    ("hashes", "hmac.compare_digest(data, data[:-1] + b'x')"), ("hashes", "hashlib.sha3_256(data).digest()"),
    ("hashes", "ssl.RAND_add(data, 1.0)"), ("hashes", "doing_bio(data)", "OpenSSL's own memory"),
    # in and out
    ("in and out", "open(path).read()"), ("in and out", "open(path, 'rb').read()"),
    ("in and out", "open(path).readline()"), ("in and out", "open(path, 'rb', buffering=0).read()"),
    ("in and out", "list(open(path))"), ("in and out", "pathlib.Path(path).read_text()"),
    ("in and out", "doing_write(text)"), ("in and out", "doing_os_read(path)"),
    ("in and out", "io.StringIO(text).read()"), ("in and out", "io.BytesIO(data).getvalue()"),
    ("in and out", "doing_print(text)"), ("in and out", "doing_socket(data)"),
    ("in and out", "doing_socket_file(data)"), ("in and out", "doing_recv_into(data)"),
    ("in and out", "doing_getpass(data)"), ("in and out", "doing_asyncio_stream(data)"),
    ("in and out", "mmap.mmap(-1, 4096).write(data)", "the mapping itself, until it is closed"),
    # programs
    ("programs", "subprocess.run(['cat'], input=data, capture_output=True).stdout"),
    ("programs", "subprocess.run(['true'], env={'A': text}).returncode", KERNEL),
    ("programs", "subprocess.run(['echo', text], capture_output=True).stdout", KERNEL),
    ("programs", "doing_environ(text)", "the C library's environment"),
    # messages
    ("messages", "doing_logging(text)"), ("messages", "doing_traceback(text)"), ("messages", "doing_warning(text)"),
    ("messages", "str(ValueError(text))"),
    # chance
    ("chance", "random.Random(text).random()", HASHES), ("chance", "random.Random(data).sample(text, 20)", HASHES),
    ("chance", "str(uuid.uuid5(uuid.NAMESPACE_DNS, text))"), ("chance", "doing_thread(text)"),
)  # fmt: skip
OPERATIONS = {line[1]: Operation(*line) for line in _LINES}
