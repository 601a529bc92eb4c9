"""The process that reads one PDF: `pdf_program.py FILE PAGES CHARACTERS BYTES SECONDS` writes JSON.

It imports nothing of phi4local. Whatever pypdf raises ends this process; `pdf.py` calls the file damaged.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings


def _bound(memory_bytes: int, seconds: int) -> None:
    """Let the system end this process at its limits; Windows has none, there only the waiting process has."""
    if sys.platform != "win32":
        import resource

        for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory_bytes)):
            hard = resource.getrlimit(kind)[1]
            allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            try:
                resource.setrlimit(kind, (allowed, hard))
            except (OSError, ValueError):  # macOS refuses RLIMIT_AS
                continue


def _read(path: str, most_pages: int, most_characters: int) -> dict[str, object]:
    from pypdf import PasswordType, PdfReader

    reader = PdfReader(path)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        return {"problem": "is encrypted", "hint": "save a copy without the password and use that"}
    if len(reader.pages) > most_pages:
        return {"problem": f"has {len(reader.pages):,} pages, and at most {most_pages:,} are read"}
    pages: list[str] = []
    left = most_characters
    for page in reader.pages:
        text = page.extract_text()
        left -= len(text)
        if left < 0:
            return {"problem": f"holds more than {most_characters:,} characters"}
        pages.append(text.encode("utf-8", errors="replace").decode("utf-8"))
    return {"pages": pages}


def main(arguments: list[str]) -> None:
    """Read the file and write its pages, or what is wrong with it."""
    path, pages, characters, memory_bytes, seconds = arguments
    _bound(int(memory_bytes), int(seconds))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps(_read(path, int(pages), int(characters))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
