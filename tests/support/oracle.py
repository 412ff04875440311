"""Comparing with the oracle."""


def outcome(call, *arguments):
    """What a call answers, or the type of what it raises: for comparing with bytearray."""
    try:
        return call(*arguments)
    except Exception as error:
        return type(error)
