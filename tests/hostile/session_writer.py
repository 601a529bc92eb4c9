"""A process that adds turns to a session for ever and says on stdout which one is done.

Its arguments: the folder of the sessions, and how many bytes an answer has.
"""

import sys
from pathlib import Path

from phi4local.assistant.sessions.library import SessionLibrary


def main() -> None:
    """Write until somebody ends it."""
    folder, size = Path(sys.argv[1]), int(sys.argv[2])
    session = SessionLibrary(folder).create("trip", system="Be kind.")
    number = 0
    while True:
        session.add_user(f"question {number}")
        session.add_answer(f"answer {number} " + size * "x", reason="stop", tokens=size)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main()
