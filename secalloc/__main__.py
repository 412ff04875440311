"""``python -m secalloc``: the command line."""
from secalloc.cli import main

if __name__ == "__main__":
    main(prog_name="secalloc")
