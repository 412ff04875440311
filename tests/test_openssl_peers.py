"""Real peers of TLS servers and clients whose OpenSSL is on secret pages: openssl, curl, stunnel, Python's own."""
import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate
from opensslleaks import keys
from opensslpeers.asking import ask, connected, request, session_of

TESTS = Path(__file__).resolve().parent
SECONDS_MAX = 50  # a hang is a failure
MORE = 200  # connections
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
# Every form of a key is some server's, and some client's.
SERVERS = [
    ("threads", "RSA-2048", "PEM"), ("threads", "P-256", "DER"), ("threads", "Ed25519", "encrypted DER"),
    ("asyncio", "RSA-2048", "encrypted PEM"), ("asyncio", "P-256", "encrypted DER"), ("asyncio", "Ed25519", "PEM"),
]  # fmt: skip
CLIENTS = [("RSA-2048", "encrypted DER"), ("P-256", "encrypted PEM"), ("Ed25519", "DER")]  # fmt: skip


def program(name):
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert path, f"these tests need the program {name}, and it is not installed"
    return path


@contextlib.contextmanager
def started(*arguments, errors="", **options):
    """A program, with pipes, that must end without an error when its standard input does, and write `errors`."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with tempfile.TemporaryFile("w+") as file, subprocess.Popen(
        [*map(str, arguments)], stderr=file, text=True, **pipes | options
    ) as process:
        try:
            yield process
            process.communicate(timeout=SECONDS_MAX)
        finally:
            process.kill()  # unless it has ended
            file.seek(0)
            told = file.read()
            print(told)
        assert process.wait() == 0
        assert re.fullmatch(errors, told)


def secret(*arguments):
    """One of `opensslpeers`' modules."""
    return started(sys.executable, "-P", "-m", "opensslpeers", *arguments,
                   env=os.environ | {"PYTHONPATH": str(TESTS)}, cwd="/")  # fmt: skip


@dataclass
class Server:
    process: subprocess.Popen
    ports: list[int]
    key: keys.Key

    @property
    def port(self):
        return self.ports[0]

    def client(self, version=None):
        """The context of one that trusts it."""
        context = ssl.create_default_context(cafile=self.key.certificate)
        if version:
            context.minimum_version = context.maximum_version = VERSIONS[version]
        return context


@contextlib.contextmanager
def serving(kind, key, form="PEM", clients=None, ports=1):
    more = [clients.certificate] if clients else []
    with secret("serving", kind, key.certificate, key.files[form], keys.PASSWORD, *more) as process:
        yield Server(process, [int(process.stdout.readline()) for _ in range(ports)], key)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By kind, the keys of servers and of clients."""
    folders = [tmp_path_factory.mktemp(name) for name in ("servers", "clients")]
    return [{kind: keys.make(kind, folder) for kind in keys.KINDS} for folder in folders]


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def server(request, made):
    how, kind, form = request.param
    with serving(how, made[0][kind], form) as made_server:
        yield made_server


def check(server, answer, version=None, reused=False):
    assert answer["pid"] == server.process.pid
    assert version in (None, answer["version"])
    assert answer["routed"] is True
    assert answer["live"] > 0
    assert answer["reused"] is reused


def s_client(server, version="TLSv1.3", *arguments):
    """A connection of the openssl program: what it printed, and the server's answer, which is the last of it."""
    with started(
        program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost", "-crlf",
        "-verify_hostname", "localhost", "-verify_return_error", "-CAfile", server.key.certificate,
        f"-{version.lower().replace('v', '').replace('.', '_')}", *arguments, errors="(?s).*",
    ) as process:  # fmt: skip
        process.stdin.write("GET / HTTP/1.1\nHost: localhost\n\n")
        process.stdin.flush()
        printed = []
        while not printed or (printed[-1] and not printed[-1].startswith("{")):
            printed.append(process.stdout.readline())
    return "".join(printed), json.loads(printed[-1])


def curl(server, *arguments):
    return subprocess.run(
        [program("curl"), "-q", "--noproxy", "*", "--silent", "--show-error", "--cacert", server.key.certificate,
         "--resolve", f"localhost:{server.port}:127.0.0.1", *arguments, f"https://localhost:{server.port}/"],
        capture_output=True, text=True, timeout=SECONDS_MAX,
    )  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_the_openssl_program_verifies_a_server_and_is_answered(server, version):
    printed, answer = s_client(server, version)
    check(server, answer, version)
    assert set(re.findall("Verify return code: (.*)", printed)) == {"0 (ok)"}


def test_curl_verifies_a_server_and_is_answered(server):
    done = curl(server)
    assert (done.returncode, done.stderr) == (0, "")
    check(server, json.loads(done.stdout))


@pytest.mark.parametrize("version", VERSIONS)
def test_python_verifies_a_server_and_resumes_its_session(server, version):
    client = server.client(version)
    check(server, ask(server.port, client), version)
    session = session_of(server.port, client)
    for _ in range(2):
        check(server, ask(server.port, client, session=session), version, reused=True)
    check(server, ask(server.port, client), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_openssl_program_resumes_a_session(server, version, tmp_path):
    printed, answer = s_client(server, version, "-sess_out", tmp_path / "session")
    check(server, answer, version)
    assert f"Reused, {version}" not in printed
    printed, answer = s_client(server, version, "-sess_in", tmp_path / "session")
    check(server, answer, version, reused=True)
    assert f"Reused, {version}" in printed


def test_who_does_not_trust_the_certificate_is_not_connected(server, made):
    """The control of all above: that peers verify."""
    other = made[1][server.key.kind]
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(server.port, ssl.create_default_context(cafile=other.certificate))
    done = curl(server, "--cacert", other.certificate)
    assert (done.returncode, done.stdout) == (60, "")
    check(server, ask(server.port, server.client()))


def ask_secretly(server, key, form, *counts):
    """What a client of secalloc's prints, which has a certificate: by count of connections."""
    arguments = (server.key.certificate, key.certificate, key.files[form], keys.PASSWORD, "/", *counts)
    with secret("asking", server.port, *arguments) as process:
        return [json.loads(process.stdout.readline()) for _ in counts]


@pytest.mark.parametrize("how", ["threads", "asyncio"])
@pytest.mark.parametrize(("kind", "form"), CLIENTS, ids=[kind for kind, _ in CLIENTS])
def test_a_client_s_certificate_is_accepted_and_a_client_without_one_is_refused(how, kind, form, made):
    key = made[1][kind]
    serial = load_pem_x509_certificate(key.certificate.read_bytes()).serial_number
    with serving(how, made[0][kind], clients=key) as server:
        (told,) = ask_secretly(server, key, form, 1)
        assert told["live"] > 0
        answers = [told["answer"]]
        done = curl(server, "--cert", key.certificate, "--key", key.files["PEM"])
        assert (done.returncode, done.stderr) == (0, "")
        answers.append(json.loads(done.stdout))
        for version in VERSIONS:
            answers.append(s_client(server, version, "-cert", key.certificate, "-key", key.files["PEM"])[1])
        for version in VERSIONS:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(server.port, server.client(version))
        done = curl(server)
        assert (done.returncode != 0, done.stdout) == (True, "")
        stranger = server.client()
        stranger.load_cert_chain(server.key.certificate, server.key.files["PEM"])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(server.port, stranger)
        context = server.client()
        context.load_cert_chain(key.certificate, key.files["PEM"])
        answers.append(ask(server.port, context))
        for each in answers:
            check(server, each)
            assert int(each["client"], 16) == serial
        check(server, ask(server.port, context, session=session_of(server.port, context)), reused=True)


@contextlib.contextmanager
def stunnel(folder, connection, **options):
    """An stunnel that has one end of a connection, and ends with it."""
    configuration = folder / "stunnel.conf"
    lines = {"foreground": "yes", "syslog": "no", "debug": "err", **options}
    configuration.write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
    with connection, started(program("stunnel"), configuration, stdin=connection, stdout=connection) as process:
        connection.close()
        yield process


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("kind", "form"), CLIENTS, ids=[kind for kind, _ in CLIENTS])
def test_a_client_of_secalloc_s_is_accepted_by_stunnel(kind, form, made, tmp_path):
    key, server_key = made[1][kind], made[0][kind]
    (tmp_path / "answer").write_text('{"from": "behind stunnel"}')
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    with behind, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS_MAX)
        threading.Thread(target=behind.serve_forever, args=(0.01,), daemon=True).start()
        arguments = (listener.getsockname()[1], server_key.certificate, key.certificate, key.files[form],
                     keys.PASSWORD, "/answer", 1)  # fmt: skip
        with secret("asking", *arguments) as client, stunnel(
            tmp_path, listener.accept()[0], cert=server_key.certificate, key=server_key.files["PEM"],
            CAfile=key.certificate, verifyChain="yes", requireCert="yes", connect=f"127.0.0.1:{behind.server_port}",
        ):  # fmt: skip
            told = json.loads(client.stdout.readline())
        behind.shutdown()
    assert told["answer"] == {"from": "behind stunnel"}
    assert told["live"] > 0


@pytest.mark.parametrize("how", ["threads", "asyncio"])
@pytest.mark.parametrize("kind", keys.KINDS)
def test_stunnel_is_a_client_of_secalloc_s_server(how, kind, made, tmp_path):
    key = made[1][kind]
    with serving(how, made[0][kind], "encrypted PEM", clients=key) as server:
        ours, theirs = socket.socketpair()
        with stunnel(
            tmp_path, theirs, client="yes", connect=f"127.0.0.1:{server.port}", CAfile=server.key.certificate,
            verifyChain="yes", checkHost="localhost", cert=key.certificate, key=key.files["PEM"],
        ), ours:  # fmt: skip
            check(server, request(ours))


def test_a_server_that_forks_for_each_connection_serves_them_and_goes_on(made):
    with serving("forking", made[0]["RSA-2048"]) as server:
        answers = [ask(server.port, server.client(version)) for version in (*VERSIONS, None, *VERSIONS)]
        assert json.loads(curl(server).stdout)["routed"] is True
    assert len({answer["pid"] for answer in answers} - {server.process.pid}) == len(answers)
    assert all(answer["routed"] and answer["live"] > 0 for answer in answers)
    assert len({answer["random"] for answer in answers}) == len(answers)


@pytest.mark.parametrize("kind", keys.KINDS)
@pytest.mark.parametrize("by", ["SIGTERM", "standard input"])
def test_children_made_beforehand_serve_and_so_does_their_parent(kind, by, made):
    with serving("prefork", made[0][kind], ports=2) as server:
        client = server.client()
        with contextlib.ExitStack() as held:  # each connection keeps a worker, so that the next one has another
            answers = []
            for _ in range(3):
                answers.append(request(held.enter_context(connected(server.port, client))))
        workers = {answer["pid"] for answer in answers}
        assert len(workers) == 3
        assert server.process.pid not in workers
        answers.append(ask(server.ports[1], client))
        check(server, answers[-1])
        assert all(answer["routed"] and answer["live"] > 0 for answer in answers)
        assert len({answer["random"] for answer in answers}) == len(answers)
        for _ in range(5):  # whoever gave the ticket, all can take it: the keys of tickets are older than the fork
            session = session_of(server.port, client)
            assert ask(server.port, client, session=session)["pid"] in workers
        assert s_client(server)[1]["pid"] in workers
        check(server, ask(server.ports[1], client, session=session), reused=True)
        if by == "SIGTERM":
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(SECONDS_MAX) == 0
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def growth(earlier, later):
    """In objects or bytes, whichever is more: what grows by neither for each of MORE connections does not leak."""
    return max(later[what] - earlier[what] for what in ("live", "live_bytes"))


def after(count, server, client, path="/", session=None):
    """What is live after some connections: the least of some answers, as the connection before may not be over yet."""
    for _ in range(count):
        ask(server.port, client, path, session)
    idle = [ask(server.port, client, "/idle", session) for _ in range(10)]
    return {what: min(answer[what] for answer in idle) for what in ("live", "live_bytes")}


@pytest.mark.parametrize("how", ["threads", "asyncio"])
@pytest.mark.parametrize("version", VERSIONS)
def test_connections_leave_nothing_in_a_server_s_openssl(how, version, made):
    with serving(how, made[0]["P-256"]) as server:
        client = server.client(version)
        assert growth(after(100, server, client), after(MORE, server, client)) < MORE
        session = session_of(server.port, client)
        resumed = [after(count, server, client, session=session) for count in (10, MORE)]
        assert growth(*resumed) < MORE
        # The control: the server keeps a session of each connection.
        assert growth(after(10, server, client), after(MORE, server, client, "/leak")) > MORE


@pytest.mark.parametrize(("kind", "form"), CLIENTS, ids=[kind for kind, _ in CLIENTS])
def test_connections_leave_nothing_in_a_client_s_openssl(kind, form, made):
    key = made[1][kind]
    with serving("threads", made[0]["P-256"], clients=key) as server:
        told = ask_secretly(server, key, form, 100, MORE)
        assert growth(*told) < MORE
