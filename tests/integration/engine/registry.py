"""A registry for tests: speaks as much of the distribution protocol as an engine needs for a pull."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Registry:
    """Images of one small layer each, open or behind a login.

    Attributes:
        failures: how many of the next requests for a manifest get a 500.
        login: ``user:password`` that it wants; empty for an open registry.
        manifest_requests: paths of manifests asked for.
    """

    login: str = ""
    failures: int = 0
    manifest_requests: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def start(self) -> None:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def push(self, name: str, tag: str, content: str) -> str:
        """Store an image of one file with this content; returns its digest."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            entry = tarfile.TarInfo("content")
            entry.size = len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
        packed = gzip.compress(layer.getvalue(), mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/content"]},
                "rootfs": {"type": "layers", "diff_ids": [sha256(layer.getvalue())]},
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._blob(config, "application/vnd.docker.container.image.v1+json"),
                "layers": [self._blob(packed, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
            }
        ).encode()
        for reference in (tag, sha256(manifest)):
            self.manifests[name, reference] = manifest
        return sha256(manifest)

    def _blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[sha256(content)] = content
        return {"mediaType": media_type, "size": len(content), "digest": sha256(content)}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.removeprefix("/v2/").strip("/")
        login = base64.b64encode(self.login.encode()).decode()
        name, _, reference = path.rpartition("/")
        name, _, kind = name.rpartition("/")
        if self.login and request.headers.get("Authorization") != f"Basic {login}":
            self._send(request, 401, self._error("UNAUTHORIZED", "authentication required"))
        elif kind == "manifests":
            self.manifest_requests.append(path)
            if self.failures > 0:
                self.failures -= 1
                self._send(request, 500, self._error("UNKNOWN", "the registry is out of order"))
            elif (name, reference) in self.manifests:
                self._send(request, 200, self.manifests[name, reference], MANIFEST)
            else:
                self._send(request, 404, self._error("MANIFEST_UNKNOWN", "manifest unknown"))
        elif kind == "blobs" and reference in self.blobs:
            self._send(request, 200, self.blobs[reference], "application/octet-stream")
        else:
            self._send(request, 404 if path else 200, b"{}")

    @staticmethod
    def _error(code: str, message: str) -> bytes:
        return json.dumps({"errors": [{"code": code, "message": message}]}).encode()

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json") -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        request.send_header("Docker-Content-Digest", sha256(body))
        if status == 401:
            request.send_header("WWW-Authenticate", 'Basic realm="test"')
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)
