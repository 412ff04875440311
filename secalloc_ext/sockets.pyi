from secalloc_ext.securebytes import SecureBytes

from_socket = SecureBytes.from_socket
send = SecureBytes.send
