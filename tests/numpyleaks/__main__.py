"""What numpy leaves of secret arrays in ordinary memory, measured with this Python: `python tests/numpyleaks [WORD]`.

Writes docs/NUMPY.md, from what was measured here and what is kept of other Pythons. With a word it prints the
operations whose code holds it, and writes nothing.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leaktable import command

from numpyleaks import operations

if __name__ == "__main__":
    command.main(operations, *sys.argv[1:])
