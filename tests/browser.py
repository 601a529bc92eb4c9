"""How Chromium is started in tests: Debian's, without a GPU and without asking anybody for updates."""

import os
import shutil

CHROMIUM = (
    os.environ.get("PHI4LOCAL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
LAUNCH = {"executable_path": CHROMIUM, "args": list(ARGUMENTS)}
