from secalloc_ext.securebytes import SecureBytes

from_prompt = SecureBytes.from_prompt
