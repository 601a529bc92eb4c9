"""A server whose model answers at random: a real one on a free port, asked as any other."""

import contextlib
import http.server
import json
import random
import threading
from typing import ClassVar


class RandomModel(http.server.BaseHTTPRequestHandler):
    """Says a letter that depends on the seed alone, or what `answer` makes of the question.

    It waits while `open` is not set; `asked` holds what came.
    """

    answer = None

    asked: ClassVar[list[dict]] = []
    arrived: ClassVar[threading.Event] = threading.Event()
    open: ClassVar[threading.Event] = threading.Event()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self._send("application/json", json.dumps({"data": [{"id": "random"}]}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self.arrived.set()
        self.open.wait()
        letter = random.Random(body["seed"]).choice("ABCD")
        answer = type(self).answer
        said = answer(body["messages"][-1]["content"]) if answer else f"Answer: {letter}"
        piece = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        self._send(
            "text/event-stream", f"data: {json.dumps(piece)}\n\ndata: {json.dumps(end)}\n\ndata: [DONE]\n\n"
        )

    def _send(self, kind, text):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments):
        """Say nothing."""


@contextlib.contextmanager
def random_model(answer=None):
    """Yield its address."""
    RandomModel.answer = staticmethod(answer) if answer else None
    RandomModel.asked.clear()
    RandomModel.arrived.clear()
    RandomModel.open.set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RandomModel) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
