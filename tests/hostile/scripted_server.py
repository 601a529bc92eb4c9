"""An HTTP server on loopback that says exactly the bytes that a test gives it, and tells how it was left."""

import contextlib
import json
import socket
import struct
import threading


def response(body=b"", status="200 OK", kind="application/json", **headers):
    """Return a whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if not {"Content_Length", "Transfer_Encoding"} & set(headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk(text=None, **more):
    """Return one line of a stream, as servers send it."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": None, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
MODELS = response(b'{"data": [{"id": "nano"}]}')
TLS_HELLO = b"\x16\x03"
WAIT, RESET = object(), object()
"""Steps of a script: wait until the client hangs up; break the connection."""


class ScriptedServer:
    """Answers GET with `models` and POST with `script`, a list of bytes, `WAIT` and `RESET`.

    Attributes:
        requests: the heads and bodies that came.
        left: set when a client hung up while the script waited.
    """

    def __init__(self, script=(), models=MODELS):
        self.script, self.models = script, models
        self.requests = []
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                received = connection.recv(65536)
                if not received:
                    return
                data += received
                if data.startswith(TLS_HELLO):
                    connection.sendall(response(status="400 Bad Request"))
                    return
            head, _, body = data.partition(b"\r\n\r\n")
            length = int((head.lower().partition(b"content-length:")[2].split() or [b"0"])[0])
            while len(body) < length:
                received = connection.recv(65536)
                if not received:
                    return
                body += received
            self.requests.append((head.decode(), body.decode()))
            for step in [self.models] if head.startswith(b"GET") else self.script:
                self._do(connection, step)

    def _do(self, connection, step):
        if step is WAIT:
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass
            self.left.set()
        elif step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            connection.sendall(step)

    def close(self):
        """End every thread; clients have to be gone."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
