"""Nothing is wrong, and there is something to be seen: letters."""
from fuzz.behaviour import saw


def check(data):
    for letter in data:
        saw(letter)
