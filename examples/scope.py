"""Python's own objects on secret pages, and a look at what they leave. Run it: python examples/scope.py"""
import asyncio
import json

from secalloc import SecureBytes, leaks, scope

# A document with a password in it, as it comes from a file or a socket; here made on secret pages.
password = leaks.marker()
document = SecureBytes(b'{"user": "me", "password": "') + password + b'"}'

# In the scope, every str, dict and list that is made lies on secret pages, and all that is made on the way.
with scope():
    config = json.loads(bytes(document))
    header = f"Authorization: {config['user']}:{config['password']}".encode()
print("a password of", len(config["password"]), "letters;", scope.stats().live, "objects live in the scope's heap")
print("found in ordinary memory:", leaks.scan(password))


# A coroutine is in the scope at each of its steps, and the tasks that run meanwhile are not.
@scope
async def log_in(told: dict[str, str]) -> int:
    secret = told["password"] * 2
    await asyncio.sleep(0)
    return len(secret)


async def main() -> None:
    print("two tasks:", await asyncio.gather(log_in(config), log_in(config)))


asyncio.run(main())
print("afterwards:", leaks.scan(password))

# Without it, the same leaves copies in ordinary memory, where they stay when they are freed.
ordinary = json.loads(bytes(document))
found = leaks.scan(password)
print("without a scope:", sum(leak.parts for leak in found) > 0)
