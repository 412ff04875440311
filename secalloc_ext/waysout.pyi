from secalloc_ext.securebytes import SecureBytes

write_to = SecureBytes.write_to
