"""`python -m convert` is `phi4local convert`."""

import sys

from phi4local.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
