"""What libraries do with a secret: whether they take a `SecureBytes`, whether a `reveal()`, and what they leave behind.

Each case is run in a process of its own, which is then looked through from outside. `python tests/consumers` measures
what is installed and writes docs/CONSUMERS.md.
"""
