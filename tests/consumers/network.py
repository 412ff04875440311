"""Clients of servers, which are processes of their own on the loopback interface."""
from consumers.case import case
from consumers.servers import serve


@case("requests", "get(auth=('user', secret))", text=True)
def requests_basic():
    import requests

    url = f"http://127.0.0.1:{serve('http')}/"
    return lambda secret: requests.get(url, auth=("user", secret), timeout=10).raise_for_status()


@case("requests", "get(headers={'Authorization': secret})", text=True)
def requests_header():
    import requests

    url = f"http://127.0.0.1:{serve('http')}/"
    return lambda secret: requests.get(url, headers={"Authorization": secret}, timeout=10).raise_for_status()


@case("httpx", "get(auth=('user', secret))", text=True)
def httpx_basic():
    import httpx

    url = f"http://127.0.0.1:{serve('http')}/"
    return lambda secret: httpx.get(url, auth=("user", secret)).raise_for_status()


@case("httpx", "post(content=secret)")
def httpx_post():
    import httpx

    url = f"http://127.0.0.1:{serve('http')}/"
    return lambda secret: httpx.post(url, content=secret).raise_for_status()


@case("hvac", "Client(token=secret), a read", text=True)
def hvac_token():
    import hvac

    url = f"http://127.0.0.1:{serve('http')}"
    return lambda secret: hvac.Client(url, token=secret).read("secret/path")


@case("psycopg", "connect(password=secret)", text=True)
def psycopg_connect():
    import psycopg

    port = serve("postgres")
    return lambda secret: psycopg.connect(host="127.0.0.1", port=port, user="user", password=secret).close()


@case("psycopg", "a parameter of a query")
def psycopg_parameter():
    import psycopg

    connection = psycopg.connect(host="127.0.0.1", port=serve("postgres"), user="user", password="password")
    return lambda secret: connection.execute("SELECT %b", (secret,))


@case("asyncpg", "connect(password=secret)", text=True)
def asyncpg_connect():
    import asyncio

    import asyncpg

    port = serve("postgres")

    async def use(secret):
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="user", password=secret, ssl=False)
        connection.terminate()

    return lambda secret: asyncio.run(use(secret))


@case("paramiko", "SSHClient.connect(password=secret)", text=True)
def paramiko_password():
    import paramiko

    port = serve("ssh")

    def use(secret):
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                "127.0.0.1", port, "user", secret, allow_agent=False, look_for_keys=False, timeout=10, auth_timeout=10
            )

    return use


@case("keyring", "set_password(secret)", text=True)
def keyring_set():
    import keyring
    import keyring.backend

    class Forgetful(keyring.backend.KeyringBackend):
        priority = 1

        def set_password(self, service, username, password):
            assert len(password) == 32

        def get_password(self, service, username):
            return None

    keyring.set_keyring(Forgetful())
    return lambda secret: keyring.set_password("service", "user", secret)
