from secalloc_ext.securebytes import SecureBytes

__pyx_capi__: dict[str, object]
from_file = SecureBytes.from_file
from_credential = SecureBytes.from_credential
