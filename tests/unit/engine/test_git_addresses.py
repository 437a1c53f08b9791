"""Addresses and versions that git is never given."""

from __future__ import annotations

import pytest

from docker_runner.engine.git_repository import GitRepository, check_address, check_version
from docker_runner.errors import UserError


@pytest.mark.rules("IG-28", "D15")
@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "is missing"),
        ("github.com/keboola/app", "must begin with https://"),
        ("git@github.com:keboola/app.git", "must begin with https://"),
        ("ssh://git@github.com/app.git", "must not hold a login"),
        ("ssh://github.com/app.git", "must begin with https://"),
        ("file:///etc", "must begin with https://"),
        ("/etc", "must begin with https://"),
        ("ext::sh -c touch% /tmp/x", "must begin with https://"),
        ("--upload-pack=touch /tmp/x", "must begin with https://"),
        ("http::https://example.com", "is not the address"),
        ("https://user:hunter2@example.com/app.git", "must not hold a login"),
        ("https://hunter2@example.com/app.git", "must not hold a login"),
        ("https://", "is not the address"),
        ("https://exa mple.com/app.git", "is not the address"),
        ("https://example.com/app\n.git", "is not the address"),
        ("https://example.com:port/app.git", "is not the address"),
        ("https://-oProxyCommand=x/app.git", "is not the address"),
    ],
)
def test_only_http_addresses_without_a_login_are_taken(address: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        check_address(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.rules("IG-28")
def test_a_login_needs_an_address_with_a_scheme() -> None:
    with pytest.raises(UserError, match=r"must begin with https://.*Logins need it"):
        GitRepository("github.com/keboola/app", "user", "password")


@pytest.mark.rules("D15")
@pytest.mark.parametrize(
    "version", ["-u", "--upload-pack=x", "a b", "a..b", "a*", "a:b", "a^", "/a", "a/", "x\n", "@{1}"]
)
def test_what_is_no_name_of_a_version_is_refused(version: str) -> None:
    with pytest.raises(UserError, match="is not the name of a branch or tag"):
        check_version(version)


@pytest.mark.parametrize("version", ["", "main", "v1.0.2", "feature/x-1", "release_2", "0" * 40])
def test_usual_names_of_versions_are_taken(version: str) -> None:
    check_version(version)


@pytest.mark.rules("D15")
def test_a_login_of_two_lines_is_refused() -> None:
    with pytest.raises(UserError, match="of one line"):
        GitRepository("https://example.com/a", "user", "pass\nhost=evil.example.com")


def test_a_password_is_not_in_the_representation_of_a_repository() -> None:
    assert "hunter2" not in repr(GitRepository("https://example.com/a", "user", "hunter2"))
