"""A small server that speaks the chat-completions protocol; the tests' language model.

python chat_server.py 8000 key

It finds complaints by their words, wants its key, and counts words as tokens.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMPLAINTS = ("dirty", "rude", "lost")


def serve(port: int, key: str) -> ThreadingHTTPServer:
    """Return a server that listens on a port (0: a free one) and does not answer yet."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self._answer(404, {"error": {"message": f"no such path: {self.path}"}})
            elif self.headers["Authorization"] != f"Bearer {key}":
                self._answer(401, {"error": {"message": "the key is wrong"}})
            else:
                self._answer(200, _completion(body))

        def _answer(self, code: int, document: Any) -> None:
            text = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return ThreadingHTTPServer(("", port), Handler)


def _completion(body: Any) -> Any:
    asked = " ".join(message["content"] for message in body["messages"])
    said = "yes" if any(word in asked for word in COMPLAINTS) else "no"
    tokens = {"prompt_tokens": len(asked.split()), "completion_tokens": 1}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764230400,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": said},
                "finish_reason": "stop",
            }
        ],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2]).serve_forever()
