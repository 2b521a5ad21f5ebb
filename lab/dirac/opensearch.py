"""In memory, the few OpenSearch calls that DIRAC's JobParametersDB makes; no OpenSearch is packaged for a lab.

Run as ``python -m lab.dirac.opensearch PORT``.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

_INDICES: dict[str, dict[str, dict]] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Quiet: only what it cannot answer is worth a line."""

    def _reply(self, code: int, content: object = None) -> None:
        data = json.dumps({} if content is None else content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else {}
        path = [part for part in urlparse(self.path).path.split("/") if part]
        if not path:
            self._reply(200, {"cluster_name": "lab", "version": {"number": "2.11.1", "distribution": "opensearch"}})
        elif path[0] in ("_index_template", "_template"):
            self._reply(200, {"acknowledged": True})
        elif path[0] == "_mget":
            self._reply(200, {"docs": [_found(entry["_index"], str(entry["_id"])) for entry in body["docs"]]})
        elif len(path) == 1:
            self._index(path[0])
        elif len(path) > 2 and path[1] in ("_doc", "_update"):
            self._document(path[0], path[1], path[2], body)
        else:
            self._unknown()

    def _index(self, index: str) -> None:
        if self.command == "PUT":
            _INDICES.setdefault(index, {})
            self._reply(200, {"acknowledged": True, "index": index})
        elif self.command == "DELETE":
            _INDICES.pop(index, None)
            self._reply(200, {"acknowledged": True})
        else:
            self._reply(200 if index in _INDICES else 404)

    def _document(self, index: str, operation: str, key: str, body: dict) -> None:
        documents = _INDICES.get(index, {})
        if operation == "_update":
            if key in documents:
                documents[key].update(body.get("doc", {}))
            self._reply(200 if key in documents else 404, {"result": "updated" if key in documents else "not_found"})
        elif self.command in ("PUT", "POST"):
            _INDICES.setdefault(index, {})[key] = body
            self._reply(201, {"result": "created", "_id": key, "_index": index})
        elif self.command in ("GET", "HEAD"):
            self._reply(200 if key in documents else 404, _found(index, key))
        elif self.command == "DELETE":
            gone = documents.pop(key, None) is not None
            self._reply(200 if gone else 404, {"result": "deleted" if gone else "not_found"})

    def _unknown(self) -> None:
        sys.stderr.write(f"unknown to the OpenSearch stand-in: {self.command} {self.path}\n")
        self._reply(400, {"error": "unknown to the OpenSearch stand-in"})

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer


def _found(index: str, key: str) -> dict:
    source = _INDICES.get(index, {}).get(key)
    return {"_index": index, "_id": key, "found": source is not None, "_source": source}


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()
