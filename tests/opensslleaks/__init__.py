"""What a TLS server leaves of its private key in ordinary memory, step by step: a server in a process of its own,
looked through from outside."""
