"""A real git server over HTTP: ``git http-backend`` behind a small web server, open or behind a login."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class GitServer:
    """Repositories below one folder.

    Attributes:
        folder: where they are.
        login: ``user:password`` that it wants; empty for open ones.
        status: answers everything with this status while it is set.
        redirect: sends everybody on to this address.
        pause: holds every answer back until it is set.
        logins: the logins that were sent.
        requests: paths that were asked for.
    """

    folder: Path
    login: str = ""
    status: int = 0
    redirect: str = ""
    pause: threading.Event = field(default_factory=threading.Event)
    logins: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        server = self
        self.pause.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.pause.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def repository(self, name: str = "app.git") -> Repository:
        """Make an empty repository with the branch main."""
        folder = self.folder / name
        git("init", "--quiet", "--bare", "--initial-branch=main", str(folder), cwd=self.folder)
        return Repository(folder, f"{self.address}/{name}")

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.path)
        self.pause.wait(30)
        sent = request.headers.get("Authorization", "")
        login = base64.b64decode(sent.removeprefix("Basic ")).decode()
        if login:
            self.logins.append(login)
        if self.redirect:
            self._send(request, 302, {"Location": self.redirect + request.path})
        elif self.status:
            self._send(request, self.status, {})
        elif self.login and login != self.login:
            self._send(request, 401, {"WWW-Authenticate": 'Basic realm="git"'})
        else:
            self._backend(request)

    def _backend(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        size = int(request.headers.get("Content-Length") or 0)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "user",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=request.rfile.read(size), env=environment, capture_output=True, check=False
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(headers.pop("Status", "200").split()[0])
        self._send(request, status, headers, body)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@dataclass
class Repository:
    """A repository on the server; commits are pushed from a clone beside it."""

    folder: Path
    address: str

    @property
    def clone(self) -> Path:
        return self.folder.with_suffix(".work")

    def commit(self, files: Mapping[str, str] | None = None, *, branch: str = "main", tag: str = "") -> str:
        """Commit files (or nothing) to a branch; gives the commit."""
        if not self.clone.exists():
            git("clone", "--quiet", str(self.folder), str(self.clone), cwd=self.folder.parent)
        git("checkout", "--quiet", "-B", branch, cwd=self.clone)
        for name, content in (files or {}).items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        git("add", "--all", cwd=self.clone)
        git("commit", "--quiet", "--allow-empty", "-m", "change", cwd=self.clone)
        if tag:
            git("tag", "-a", "-m", tag, tag, cwd=self.clone)
        git("push", "--quiet", "--force", "--follow-tags", "origin", branch, cwd=self.clone)
        return git("rev-parse", "HEAD", cwd=self.clone).strip()


def git(*arguments: str, cwd: Path) -> str:
    settings = ("user.name=Test", "user.email=test@example.com", "init.defaultBranch=main", "commit.gpgsign=false")
    command = ["git", *(part for setting in settings for part in ("-c", setting)), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
