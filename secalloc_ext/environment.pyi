from secalloc_ext.securebytes import SecureBytes

from_env = SecureBytes.from_env
