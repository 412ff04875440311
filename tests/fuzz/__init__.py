"""Inputs by the ten thousand into every public entry, beside what answers the same: see `__main__.py`.

Words: a *target* is a module of `targets/` with a `check`; an *input* is bytes, from which hypothesis makes the
arguments of `check`, or which it takes as they are (*raw*); an *example* is one run of it; a *behaviour* is a tuple
that an example reports by `behaviour.saw`; a *finding* is an exception, a death or a hang.
"""
