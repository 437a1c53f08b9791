"""Reading git repositories over HTTP from a real git server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.integration.engine.git_server import GitServer, Repository, git

from docker_runner.engine.attempts import PassingError
from docker_runner.engine.git_repository import GitRepository
from docker_runner.errors import NotFoundError, UserError

USER, PASSWORD = "git-user", "s3cr3t/pass@word:%41"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "served").mkdir()
    running = GitServer(tmp_path / "served")
    yield running
    running.stop()


@pytest.fixture
def repository(server: GitServer) -> Repository:
    made = server.repository()
    made.commit({"main.py": "print('first')"}, tag="1.0")
    return made


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text() if not path.is_symlink() else f"-> {path.readlink()}"
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def checked_out(repository: GitRepository, version: str, folder: Path) -> dict[str, str]:
    folder.mkdir()
    repository.checkout(repository.resolve(version), folder)
    return files(folder)


@pytest.mark.rules("D15", "IG-23")
def test_a_version_is_a_branch_a_tag_a_commit_or_the_default_branch(repository: Repository, tmp_path: Path) -> None:
    first = git("rev-parse", "HEAD", cwd=repository.clone).strip()
    second = repository.commit({"main.py": "print('second')"})
    dev = repository.commit({"main.py": "print('dev')", "lib/x.py": ""}, branch="feature/x")
    found = GitRepository(repository.address)
    assert found.resolve("").commit == second
    assert found.resolve("main").commit == second
    assert found.resolve("1.0").commit == first
    assert found.resolve("feature/x").commit == dev
    assert found.resolve(first).commit == first
    assert checked_out(found, "1.0", tmp_path / "a") == {"main.py": "print('first')"}
    assert checked_out(found, "feature/x", tmp_path / "b") == {"main.py": "print('dev')", "lib/x.py": ""}
    assert checked_out(found, first, tmp_path / "c") == {"main.py": "print('first')"}
    assert checked_out(found, "", tmp_path / "d") == {"main.py": "print('second')"}


@pytest.mark.rules("D15", "IG-23")
def test_a_branch_goes_before_a_tag_of_the_same_name(repository: Repository) -> None:
    branch = repository.commit({"main.py": "branch"}, branch="twice")
    git("tag", "twice", "HEAD~1", cwd=repository.clone)
    git("push", "--quiet", "origin", "refs/tags/twice", cwd=repository.clone)
    assert GitRepository(repository.address).resolve("twice").commit == branch


@pytest.mark.rules("IG-23", "IG-28", "D15")
def test_a_private_repository_is_read_with_user_and_password(
    server: GitServer, repository: Repository, tmp_path: Path
) -> None:
    server.login = f"{USER}:{PASSWORD}"
    assert checked_out(GitRepository(repository.address, USER, PASSWORD), "main", tmp_path / "a") == {
        "main.py": "print('first')"
    }
    assert set(server.logins) == {server.login}


@pytest.mark.rules("IG-28", "D15")
def test_a_login_is_in_no_command_line_and_on_no_disk(
    server: GitServer, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.login = f"{USER}:{PASSWORD}"
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    seen: set[str] = set()
    programs: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdecimal():
                    line = ""
                    with suppress(OSError):
                        line = (process / "cmdline").read_bytes().decode(errors="replace")
                    programs.add(line.split("\0")[0])
                    if PASSWORD in line or "s3cr3t" in line:
                        seen.add(line)
            for parent, _, names in os.walk(tmp_path / "tmp"):
                for name in names:
                    with suppress(OSError):
                        if b"s3cr3t" in Path(parent, name).read_bytes():
                            seen.add(name)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for number in range(5):
            checked_out(GitRepository(repository.address, USER, PASSWORD), "main", tmp_path / str(number))
    finally:
        ended.set()
        watching.join()
    assert seen == set()
    assert any("git" in name for name in programs)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.rules("IG-28", "D15")
@pytest.mark.parametrize(("username", "password"), [("", ""), (USER, "wr0ng-pass"), ("nobody", "wr0ng-pass")])
def test_a_wrong_or_missing_login_is_a_user_error_that_does_not_repeat_it(
    server: GitServer, repository: Repository, username: str, password: str
) -> None:
    server.login = f"{USER}:{PASSWORD}"
    with pytest.raises(UserError, match=r"refuses access.*username and #password") as caught:
        GitRepository(repository.address, username, password).resolve("main")
    assert "wr0ng-pass" not in str(caught.value)


@pytest.mark.rules("D15")
def test_a_login_does_not_follow_a_redirection_to_another_server(
    server: GitServer, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    first = GitServer(tmp_path / "other", redirect=server.address)
    server.login = f"{USER}:{PASSWORD}"
    try:
        with pytest.raises(UserError, match="refuses access"):
            GitRepository(f"{first.address}/app.git", USER, PASSWORD).resolve("main")
    finally:
        first.stop()
    assert server.requests
    assert server.logins == []


@pytest.mark.rules("D15")
def test_an_unknown_version_names_those_that_there_are(repository: Repository) -> None:
    repository.commit(branch="feature")
    with pytest.raises(NotFoundError, match=r"no branch or tag '2\.0'. It has feature, main, 1\.0\."):
        GitRepository(repository.address).resolve("2.0")
    missing = GitRepository(repository.address).resolve("0" * 40)
    with pytest.raises(NotFoundError, match="no such commit"):
        GitRepository(repository.address).checkout(missing, repository.folder.parent / "tree")


@pytest.mark.rules("IG-28")
def test_an_address_without_a_repository_is_a_user_error(server: GitServer, repository: Repository) -> None:
    with pytest.raises(NotFoundError, match=r"There is no git repository at http.*absent\.git"):
        GitRepository(f"{server.address}/absent.git").resolve("main")


def test_a_server_that_gives_files_only_is_a_user_error(repository: Repository, tmp_path: Path) -> None:
    git("update-server-info", cwd=repository.folder)
    serve = partial(SimpleHTTPRequestHandler, directory=str(repository.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        read = GitRepository(f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(UserError, match=r"gives files only.*smart HTTP"):
            checked_out(read, "main", tmp_path / "out")
        server.shutdown()
        thread.join()


def test_an_empty_repository_says_so(server: GitServer) -> None:
    with pytest.raises(NotFoundError, match=r"has no default branch.*It is empty"):
        GitRepository(server.repository("empty.git").address).resolve("")


@pytest.mark.rules("D15")
def test_a_server_that_fails_may_be_asked_again(server: GitServer, repository: Repository) -> None:
    server.status = 500
    with pytest.raises(PassingError, match=r"cannot be read.*500"):
        GitRepository(repository.address).resolve("main")
    with pytest.raises(PassingError, match="cannot be read"):
        GitRepository("http://127.0.0.1:1/app.git").resolve("main")


@pytest.mark.rules("D15")
def test_a_server_that_is_silent_is_given_up_and_nothing_is_left_running(
    server: GitServer, repository: Repository
) -> None:
    server.pause.clear()
    began = time.monotonic()
    with pytest.raises(PassingError, match=r"did not get an answer .* within 1 s"):
        GitRepository(repository.address, timeout_seconds=1).resolve("main")
    assert time.monotonic() - began < 25  # when the server would have answered
    lines = [path.read_bytes().decode() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not any(repository.address in line for line in lines)


@pytest.mark.rules("D15")
def test_submodules_hooks_and_filters_of_a_repository_do_nothing(
    server: GitServer, repository: Repository, tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    other = server.repository("other.git")
    commit = other.commit({"secret": "x"})
    repository.commit(
        {
            ".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = {other.address}\n\tupdate = !touch {proof}\n',
            ".gitattributes": "*.py filter=evil\n",
            ".githooks/post-checkout": f"#!/bin/sh\ntouch {proof}\n",
        }
    )
    git("update-index", "--add", "--cacheinfo", f"160000,{commit},m", cwd=repository.clone)
    git("commit", "--quiet", "-m", "submodule", cwd=repository.clone)
    git("push", "--quiet", "origin", "main", cwd=repository.clone)
    found = checked_out(GitRepository(repository.address), "main", tmp_path / "tree")
    assert "m/secret" not in found
    assert found["main.py"] == "print('first')"
    assert not proof.exists()
    assert not any("other.git" in path for path in server.requests)


@pytest.mark.rules("D15")
def test_links_stay_links_and_git_itself_is_left_out(repository: Repository, tmp_path: Path) -> None:
    (repository.clone / "link").symlink_to("/etc/passwd")
    repository.commit()
    assert checked_out(GitRepository(repository.address), "", tmp_path / "tree")["link"] == "-> /etc/passwd"


@pytest.mark.rules("D15")
def test_the_machines_own_git_configuration_is_not_used(
    server: GitServer, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(
        f'[url "{server.address}/other.git"]\n\tinsteadOf = {repository.address}\n'
        '[credential]\n\thelper = "!echo username=u; echo password=machine-secret; :"\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert GitRepository(repository.address).resolve("main").commit
    server.login = f"{USER}:{PASSWORD}"
    with pytest.raises(UserError, match="refuses access"):
        GitRepository(repository.address).resolve("main")
    assert server.logins == []
