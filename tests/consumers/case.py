"""What a case is, and all of them by name."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Use = Callable[[Any], object]


@dataclass(frozen=True)
class Case:
    """`prepare()` imports the library and answers what uses a secret. `text`: that is a str, of 32 letters.

    `result`: what the use answers is an ordinary object with the secret in it; dropped, it may be found or not.
    """

    package: str  # as PyPI names it; "" for the standard library
    what: str
    prepare: Callable[[], Use]
    text: bool = False
    result: bool = False

    @property
    def name(self) -> str:
        return f"{self.package} {self.what}" if self.package else self.what


CASES: dict[str, Case] = {}


def case(
    package: str, what: str, *, text: bool = False, result: bool = False
) -> Callable[[Callable[[], Use]], Callable[[], Use]]:
    def add(prepare: Callable[[], Use]) -> Callable[[], Use]:
        made = Case(package, what, prepare, text, result)
        assert made.name not in CASES, made.name
        CASES[made.name] = made
        return prepare

    return add
