"""`python -m phi4local`."""

import sys

from phi4local.cli import main

if __name__ == "__main__":
    sys.exit(main())
