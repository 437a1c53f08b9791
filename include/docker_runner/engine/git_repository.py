"""Reads a git repository: which commit a branch or tag is, and the files of a commit (D15, IG-28).

Only the ``git`` command speaks to servers, with an environment of its own: no configuration of the machine, no hooks,
no submodules, no protocols but HTTP. User name and password are in that environment alone, and git asks for them only
for the very server that was named, so a server that redirects to another one does not pass them on.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from docker_runner.engine.attempts import DoubtfulError, PassingError
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.scratch import Scratch, scratch_folder
from docker_runner.errors import ApplicationError, NotFoundError, UserError

_SCHEMES = ("http", "https")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What git forbids in names of branches and tags; what could be taken for a pattern is among it.
_BAD_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[/-]|[/.]$|\.lock(/|$)|^\.|/\.|^@$")
# What git may know of the machine: proxies and certificates.
_PASSED_ON = re.compile(
    r"PATH|(HTTPS?|NO|ALL)_PROXY|GIT_SSL_CAINFO|GIT_SSL_CAPATH|GIT_EXEC_PATH|SSL_CERT_(FILE|DIR)|TMPDIR", re.IGNORECASE
)
# A shell's own printf: no program is started with what it writes. Git adds a word, which the function swallows.
_HELPER = (
    '!f() { printf "username=%s\\npassword=%s\\n" "$DOCKER_RUNNER_GIT_USERNAME" "$DOCKER_RUNNER_GIT_PASSWORD"; }; f'
)
# A server that sends less than this many bytes in a second, for so many seconds, is given up.
_SLOWEST_BYTES, _SLOW_SECONDS = "1000", "60"

_REFUSALS = ("authentication failed", "could not read username", "could not read password", "error: 403", "error: 401")
_MISSING = ("not found", "error: 404", "not a git repository", "does not appear to be", "not valid: is this a git")
# A server that nobody knows, or that is not what is expected there.
_DOUBTFUL = ("could not resolve host", "ssl certificate", "certificate verification failed")
_SHOWN_CHARACTERS = 2000


def check_address(address: str, *, with_login: bool = False) -> None:
    """Check the address of a repository before anything is done with it.

    Args:
        address: as the user wrote it.
        with_login: whether user name and password are given.

    Raises:
        UserError: it is empty, is no HTTP address (IG-28), or holds a password; never repeats the address's password.
    """
    if not address:
        raise UserError("The address of the git repository is missing.")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UserError("This is not the address of a git repository.") from None
    if parts.username is not None or parts.password is not None:
        raise UserError("An address must not hold a login: put it into username and #password.")
    if parts.scheme not in _SCHEMES:
        login = " Logins need it." if with_login else ""
        raise UserError(f"The address of the git repository must begin with https:// (or http://).{login}")
    if not host or re.search(r"[\x00-\x20\x7f\\]", address) or host.startswith("-"):
        raise UserError("This is not the address of a git repository.")


def check_version(version: str) -> None:
    """Check the name of a branch, tag or commit.

    Raises:
        UserError: git would not take it as a name.
    """
    if version and _BAD_NAME.search(version):
        raise UserError(f"{version!r} is not the name of a branch or tag.")


@dataclass(frozen=True)
class Revision:
    """A branch, tag or commit as it is now.

    Attributes:
        ref: what to fetch: the full name of a branch or tag, ``HEAD``, or the commit itself.
        commit: its commit.
        name: for people.
    """

    ref: str
    commit: str
    name: str


@dataclass(frozen=True)
class GitRepository:
    """A repository on a server.

    Attributes:
        address: its URL, without a login.
        username: the user, if it wants one.
        password: of that user.
        timeout_seconds: how long one command may take.
    """

    address: str
    username: str = ""
    password: str = field(default="", repr=False)
    timeout_seconds: float = 600.0

    def __post_init__(self) -> None:
        check_address(self.address, with_login=bool(self.username or self.password))
        if re.search(r"[\x00\r\n]", self.username + self.password):
            raise UserError(f"The login to {self.address} must be of one line: username and #password.")

    def resolve(self, version: str) -> Revision:
        """Find out which commit a version is now; a branch goes before a tag of the same name, as in ``git clone``.

        Args:
            version: branch, tag or full commit; the default branch if empty.

        Raises:
            UserError: there is no such version, or the repository refuses access.
            PassingError: the server does not answer.
        """
        check_version(version)
        refs = dict(self._refs())
        for ref in (f"refs/heads/{version}", f"refs/tags/{version}") if version else ("HEAD",):
            if ref in refs:
                return Revision(ref, refs.get(f"{ref}^{{}}", refs[ref]), version or "its default branch")
        if _COMMIT.fullmatch(version):
            return Revision(version, version, version)
        raise NotFoundError(f"The repository {self.address} has no {_named(version)}. {_known(refs)}")

    def checkout(self, revision: Revision, folder: Path) -> str:
        """Write the files of a revision into an empty folder, without git's own; give the commit.

        Raises:
            UserError: the commit does not exist, or the repository refuses access.
            PassingError: the server does not answer.
        """
        with scratch_folder(Scratch.REPOSITORY) as git:
            own = f"--git-dir={git}"
            self._git("init", "--quiet", "--bare", "--template=", str(git))
            self._git(
                own, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-commit-graph",
                "--", self.address, revision.ref,
            )  # fmt: skip
            commit = self._git(own, "rev-parse", "--verify", "FETCH_HEAD^{commit}").strip()
            self._git(own, "update-ref", "--no-deref", "HEAD", commit)
            self._git(own, "-c", "core.bare=false", f"--work-tree={folder}", "reset", "--quiet", "--hard", commit)
        return commit

    def _refs(self) -> Iterator[tuple[str, str]]:
        for line in self._git("ls-remote", "--", self.address).splitlines():
            commit, _, ref = line.partition("\t")
            yield ref, commit

    def _git(self, *arguments: str) -> str:
        with scratch_folder(Scratch.HOME) as home:
            code, output, errors = _run(("git", *arguments), self._environment(str(home)), self.timeout_seconds)
        if code is None:
            raise PassingError(f"git did not get an answer from {self.address} within {self.timeout_seconds:g} s.")
        if code:
            raise self._failure(errors)
        return output

    def _environment(self, home: str) -> dict[str, str]:
        settings = {
            "core.hooksPath": os.devnull,
            "core.fsmonitor": "false",
            "protocol.allow": "never",
            "protocol.http.allow": "always",
            "protocol.https.allow": "always",
            "http.lowSpeedLimit": _SLOWEST_BYTES,
            "http.lowSpeedTime": _SLOW_SECONDS,
            "credential.helper": "",
            "gc.auto": "0",
        }
        secrets = {}
        if self.username:
            parts = urlsplit(self.address)
            settings[f"credential.{parts.scheme}://{parts.netloc}.helper"] = _HELPER
            secrets = {
                "DOCKER_RUNNER_GIT_USERNAME": self.username,
                "DOCKER_RUNNER_GIT_PASSWORD": self.password,
            }
        return {
            **{name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)},
            "HOME": home,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": "http:https",
            **secrets,
            **_as_variables(settings),
        }

    def _failure(self, errors: str) -> UserError | ApplicationError:
        reason = Redactor([self.password]).redact(errors.strip())[-_SHOWN_CHARACTERS:]
        said = reason.lower()
        if any(text in said for text in _REFUSALS):
            login = "check username and #password" if self.username else "it wants a login: username and #password"
            return UserError(f"The repository {self.address} refuses access; {login}. git says: {reason}")
        if "dumb http" in said:
            return UserError(
                f"The server of {self.address} gives files only, from which no single version can be fetched: use one "
                f"that speaks git's smart HTTP, as git http-backend and all hosting services do. git says: {reason}"
            )
        if "not our ref" in said or "couldn't find remote ref" in said or "unadvertised object" in said:
            return NotFoundError(f"The repository {self.address} has no such commit. git says: {reason}")
        if any(text in said for text in _MISSING):
            return NotFoundError(
                f"There is no git repository at {self.address}. Check the address; some servers say so too when a "
                f"login is missing or wrong (username and #password). git says: {reason}"
            )
        kind = DoubtfulError if any(text in said for text in _DOUBTFUL) else PassingError
        return kind(f"The repository {self.address} cannot be read. git says: {reason}")


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Git's configuration as variables, so that nothing of it is in a command line or a file."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _run(command: tuple[str, ...], environment: Mapping[str, str], seconds: float) -> tuple[int | None, str, str]:
    """Run a command in its own session, without a terminal; its code is None when it took too long."""
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell; what users gave stands after -- or inside a name
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError(
            "An image from a git repository needs the command git, which this worker does not have: install it there "
            "(apt-get install git, or scripts/ensure_git.sh)."
        ) from None
    with _killed_at_the_end(process):
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None, "", ""
    return process.returncode, output, errors


@contextmanager
def _killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leave nothing of a command running, with the helpers that it started."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _named(version: str) -> str:
    return f"branch or tag {version!r}" if version else "default branch: name a version"


def _known(refs: Mapping[str, str]) -> str:
    known = [
        ref.removeprefix(kind)
        for kind in ("refs/heads/", "refs/tags/")
        for ref in refs
        if ref.startswith(kind) and not ref.endswith("^{}")
    ]
    return f"It has {', '.join(known[:10])}{', …' if len(known) > 10 else ''}." if known else "It is empty."
