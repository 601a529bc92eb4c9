"""How fast a file comes, beside `curl | sha256sum`, from nginx on this machine and over a slow link.

    python -m benchmarks.download --json benchmarks/results/download.json
    python -m benchmarks.download --link --megabytes 500 --json benchmarks/results/download-link.json

Both sides end with the right SHA-256; ours has written the file to the disk, forced it there and named it,
theirs has written nothing. `openssl dgst` is measured too, because it hashes faster than `sha256sum` on many
machines. Each fetch is a new process; ours is timed without the start of Python, and its processor time is
the whole process's. With `--link`, nginx is behind 50 MB/s and 30 ms there and back
(benchmarks/slow_link.py).

Needs nginx and curl.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import pairs
from benchmarks.slow_link import slow_link

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 10**6
LINK_BYTES_PER_SECOND, LINK_SECONDS = 50 * MEGABYTE, 0.030
BARS = {"loopback": 0.9, "link": 0.98}
_CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user {user};
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """Serve `folder/www` and yield the port; everything that nginx writes goes to `folder`."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or "nginx"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = Path("/proc/self").owner() if os.name == "posix" else "nobody"
    text = _CONFIGURATION.format(folder=folder, port=port, user=user)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    command = [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("HEAD", "/")
            connection.getresponse()
            connection.close()
            return
        time.sleep(0.05)
    raise SystemExit("nginx does not answer")


def make_file(path: Path, size_bytes: int) -> str:
    """Write random bytes and return their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for begin in range(0, size_bytes, 8 * 2**20):
            block = os.urandom(min(8 * 2**20, size_bytes - begin))
            file.write(block)
            digest.update(block)
    path.chmod(0o644)
    return digest.hexdigest()


def fetch_once(url: str, sha256: str, size_bytes: int, connections: int) -> None:
    """Fetch the file into an empty store, and print seconds and processor seconds as JSON."""
    from phi4local.store.download import DownloadSettings, fetch
    from phi4local.store.http import Credentials, get
    from phi4local.store.remote import RemoteFile

    file = RemoteFile(
        path="model.gguf",
        url=url,
        size_bytes=size_bytes,
        sha256=sha256,
        credentials=Credentials(url),
        source=f"benchmark/{sha256}",
    )
    # As a pull does: the server has been asked about the file, so the client is loaded.
    get(url.rpartition("/")[0] + "/", credentials=file.credentials)
    started = time.perf_counter()
    fetch(file, settings=DownloadSettings(connections=connections))
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime}))


def ours(url: str, sha256: str, size_bytes: int, options: argparse.Namespace) -> tuple[float, float]:
    """Return seconds and processor seconds of one fetch by a new process."""
    with tempfile.TemporaryDirectory(dir=options.folder) as home:
        command = [sys.executable, "-m", "benchmarks.download", "--fetch", url, sha256, str(size_bytes)]
        command += ["--connections", str(options.connections)]
        done = subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "PHI4LOCAL_HOME": home}
        )
    said = json.loads(done.stdout)
    return said["seconds"], said["cpu_seconds"]


def theirs(url: str, sha256: str, hasher: str) -> tuple[float, float]:
    """Return seconds and processor seconds of `curl | hasher`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", f'curl -sS --noproxy "*" "$0" | {hasher}', url], check=True, capture_output=True
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if sha256.encode() not in done.stdout:
        raise SystemExit(f"`{hasher}` found another digest")
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, used


def measure(
    url: str, sha256: str, size_bytes: int, options: argparse.Namespace
) -> tuple[list[pairs.Ratio], dict[str, list[float]]]:
    """Return our speed over that of each peer, and everybody's processor seconds per GB in each round."""
    bar = BARS["link" if options.link else "loopback"]
    peers = {"curl | sha256sum": "sha256sum", "curl | openssl dgst -sha256": "openssl dgst -sha256"}
    if options.link:
        peers.popitem()
    speeds = [pairs.Ratio(name, bar, "MB/s") for name in peers]
    used: dict[str, list[float]] = {name: [] for name in ("phi4local", *peers)}

    def round_(number: int) -> None:
        sides = [None, *peers.values()]
        found = {}
        for hasher in sides if number % 2 else reversed(sides):
            found[hasher] = theirs(url, sha256, hasher) if hasher else ours(url, sha256, size_bytes, options)
        for speed, hasher in zip(speeds, peers.values(), strict=True):
            speed.add(*(size_bytes / MEGABYTE / found[side][0] for side in (None, hasher)))
        for name, hasher in zip(used, (None, *peers.values()), strict=True):
            used[name].append(round(found[hasher][1] / size_bytes * 10**9, 3))

    pairs.run(speeds, round_, options)
    for name, values in used.items():
        print(f"{name:44} {statistics.median(values):10.2f} processor seconds per GB")
    return speeds, used


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the file")
    parser.add_argument("--link", action="store_true", help="over 50 MB/s and 30 ms")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="for the file and the store; the usual temporary one")
    parser.add_argument("--pairs", type=int, default=pairs.FEWEST_PAIRS, help="fewest rounds")
    parser.add_argument("--most-pairs", type=int, default=0, help="most rounds")
    parser.add_argument("--minutes", type=float, default=20, help="longest time")
    parser.add_argument("--json", type=Path, help="write everything here, with every sample")
    parser.add_argument("--fetch", nargs=3, metavar=("URL", "SHA256", "BYTES"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Serve, measure, write."""
    options = _options()
    if options.fetch:
        fetch_once(options.fetch[0], options.fetch[1], int(options.fetch[2]), options.connections)
        return
    size_bytes = options.megabytes * MEGABYTE
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        folder.chmod(0o755)
        (folder / "www").mkdir()
        sha256 = make_file(folder / "www" / "model.gguf", size_bytes)
        port = stack.enter_context(nginx(folder))
        if options.link:
            port = stack.enter_context(slow_link(port, LINK_BYTES_PER_SECOND, LINK_SECONDS))
        url = f"http://127.0.0.1:{port}/model.gguf"
        results, used = measure(url, sha256, size_bytes, options)
    link = {"bytes_per_second": LINK_BYTES_PER_SECOND, "round_trip_seconds": LINK_SECONDS}
    pairs.write(
        options.json,
        results,
        command=" ".join(["python -m benchmarks.download", *sys.argv[1:]]),
        file_bytes=size_bytes,
        processor_seconds_per_gb=used,
        connections=options.connections,
        link=link if options.link else "loopback",
        versions={name: _version(name) for name in ("nginx", "curl", "openssl")},
    )


def _version(program: str) -> str:
    found = shutil.which(program) or f"/usr/sbin/{program}"
    done = subprocess.run(
        [found, {"nginx": "-v", "openssl": "version"}.get(program, "--version")],
        check=False,
        capture_output=True,
        text=True,
    )
    return (done.stdout or done.stderr).splitlines()[0]


if __name__ == "__main__":
    main()
