"""Libraries of data."""
from consumers.case import case


@case("numpy", "frombuffer(secret)")
def numpy_frombuffer():
    import numpy as np

    return lambda secret: int(np.frombuffer(secret, "u1").sum())


@case("numpy", "array(memoryview(secret))")
def numpy_array():
    import numpy as np

    return lambda secret: int(np.array(memoryview(secret)).sum())


@case("pyarrow", "py_buffer(secret)")
def pyarrow_buffer():
    import pyarrow as pa

    return lambda secret: pa.py_buffer(secret).size


@case("torch", "frombuffer(secret)")
def torch_frombuffer():
    import torch

    return lambda secret: int(torch.frombuffer(secret, dtype=torch.uint8).sum())


@case("pydantic", "a field of type bytes")
def pydantic_bytes():
    from pydantic import BaseModel

    class Settings(BaseModel):
        key: bytes

    return lambda secret: len(Settings(key=secret).key)


@case("pydantic", "a field of type SecretBytes")
def pydantic_secret_bytes():
    from pydantic import BaseModel, SecretBytes

    class Settings(BaseModel):
        key: SecretBytes

    return lambda secret: len(Settings(key=secret).key.get_secret_value())


@case("pydantic", "a field of type SecretStr", text=True)
def pydantic_secret_str():
    from pydantic import BaseModel, SecretStr

    class Settings(BaseModel):
        password: SecretStr

    return lambda secret: len(Settings(password=secret).password.get_secret_value())


@case("pydantic", "a field of any type, as it is")
def pydantic_any():
    from typing import Any

    from pydantic import BaseModel

    class Settings(BaseModel):
        key: Any

    return lambda secret: len(Settings(key=secret).key)
