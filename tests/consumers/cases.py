"""All cases, of every kind."""
from consumers import crypto, data, network, standard  # noqa: F401  each adds its own
from consumers.case import CASES, Case

__all__ = ["CASES", "Case"]
