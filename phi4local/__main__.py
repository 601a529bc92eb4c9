"""`python -m phi4local`, and what the `phi4local` command starts."""

import sys


def run() -> int:
    """Run the command line; Ctrl-C while it is still being imported is 130, too."""
    try:
        from phi4local.cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
