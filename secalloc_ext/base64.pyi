from secalloc_ext.securebytes import SecureBytes

from_base64 = SecureBytes.from_base64
base64 = SecureBytes.base64
