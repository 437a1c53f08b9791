"""What `docker-runner encrypt` does to files: links, owners, line ends, and what it does not find."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.builders import ProjectBuilder, write
from tests.commands import Command, refused

from docker_runner.encryption import Scope, is_cipher
from docker_runner.encryption_keys import encryptor_of, new_key
from docker_runner.replacing import replace_text
from docker_runner.settings import Settings
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, StateKey

CONFIG = "main/extractor/vendor.ex-foo"


def linked(link: Path, target: Path) -> Path:
    """A link, with the folders it lies in."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return link


def test_the_file_that_a_link_leads_to_is_encrypted_once_and_the_link_stays_one(
    built: ProjectBuilder, command: Command
) -> None:
    real = built.write("shared/config.json", {"parameters": {"#a": "s3cret"}})
    real.chmod(0o640)
    links = [linked(built.directory / f"{CONFIG}/{name}/config.json", real) for name in ("one", "two")]
    done = command("encrypt", str(built.directory))
    assert done.stdout == f"{links[0]}: 1 value encrypted.\n"
    assert all(link.is_symlink() for link in links)
    assert is_cipher(json.loads(real.read_text())["parameters"]["#a"])
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_file_of_two_configurations_is_not_encrypted_for_one_of_them_only(
    built: ProjectBuilder, command: Command
) -> None:
    real = built.write("shared/config.json", {"parameters": {"#a": "s3cret"}})
    for name in ("one", "two"):
        linked(built.directory / f"{CONFIG}/{name}/config.json", real)
    message = refused(command("encrypt", "--scope", "configuration", str(built.directory)))
    assert f"this is the same file as {built.directory / CONFIG}/one/config.json" in message
    assert "s3cret" in real.read_text()
    assert command("encrypt", "--scope", "project-wide", str(built.directory)).exit_code == 0


def test_nothing_is_encrypted_when_a_link_leads_out_of_the_project(built: ProjectBuilder, command: Command) -> None:
    own = built.configuration({"parameters": {"#a": "s3cret"}})
    outside = write(built.folder / "elsewhere.json", {"parameters": {"#a": "s3cret"}})
    linked(built.directory / f"{CONFIG}/two/config.json", outside)
    message = refused(command("encrypt", str(built.directory)))
    assert f"leads by a link to {outside}, out of {built.directory}" in message
    assert "s3cret" in own.read_text()
    assert "s3cret" in outside.read_text()
    named = linked(built.folder / "link.json", outside)
    assert command("encrypt", "--component", "vendor.ex-foo", str(named)).exit_code == 0
    assert "s3cret" not in outside.read_text()
    assert command("encrypt", str(built.directory)).exit_code == 0


@pytest.mark.rules("EN-1", "EN-7")
def test_nothing_but_the_secrets_becomes_another_byte(built: ProjectBuilder, command: Command) -> None:
    file = built.folder / "any.json"
    text = (
        '\ufeff{ "n" : [1.10, 0.12345678901234567890, 1E5, -0,\t12345678901234567890],\r\n'
        '  "#l": ["x", {"#deep" : %s }],  "u": "\\u00e9/\\/",\r\n "#b" :%s,"#n":%s, "#o": true }\n\n'
    )
    before = text % ('"s3cret-\\u00e9"', "1.10", "null")
    file.write_bytes(before.encode())
    assert command("encrypt", "--component", "vendor.ex-foo", str(file)).output.startswith(f"{file}: 4 values")
    after = file.read_bytes().decode()
    content = json.loads(after.removeprefix("\ufeff"))
    ciphers = [content["#l"][1]["#deep"], content["#b"], content["#n"], content["#o"]]
    for cipher, plain in zip(ciphers, ['"s3cret-\\u00e9"', "1.10", "null", "true"], strict=True):
        assert after.count(f'"{cipher}"') == 1
        after = after.replace(f'"{cipher}"', plain)
    assert after == before
    opened = encryptor_of(Settings.from_environment()).decrypt(content, Scope("vendor.ex-foo"))
    assert (opened["#l"][1]["#deep"], opened["#b"], opened["#n"], opened["#o"]) == ("s3cret-é", "1.1", "", "1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_root_encrypts_stays_its_owners(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", "{}")
    os.chown(file, 1234, 4321)
    file.chmod(0o600)
    replace_text(linked(tmp_path / "links/a.json", file), "[]")
    assert (tmp_path / "links/a.json").is_symlink()
    status = file.stat()
    assert (file.read_text(), status.st_uid, status.st_gid, status.st_mode & 0o777) == ("[]", 1234, 4321, 0o600)


@pytest.mark.rules("D18")
@pytest.mark.parametrize("outside", ["a file", "a folder"])
def test_no_key_is_changed_while_links_lead_to_ciphers_elsewhere(
    built: ProjectBuilder, command: Command, outside: str
) -> None:
    cipher = command("encrypt", "--component", "vendor.ex-foo", "--value", input="x").stdout.strip()
    own = built.configuration({"parameters": {"#a": cipher}})
    real = write(built.folder / "elsewhere/config.json", {"parameters": {"#a": cipher}})
    folder = built.directory / CONFIG / "two"
    link = linked(folder, real.parent) if outside == "a folder" else linked(folder / "config.json", real)
    before = own.read_text(), (built.folder / "home/keys").read_text()
    message = refused(command("encrypt", "--rotate"))
    assert f"{link} leads to " in message
    assert (own.read_text(), (built.folder / "home/keys").read_text()) == before


@pytest.mark.rules("D18")
def test_ciphers_are_made_anew_behind_links_and_in_files_of_any_encoding(
    built: ProjectBuilder, command: Command
) -> None:
    cipher = command("encrypt", "--component", "vendor.ex-foo", "--value", input="x").stdout.strip()
    real = built.write("shared/config.json", {"parameters": {"#a": cipher}})
    link = linked(built.directory / f"{CONFIG}/two/config.json", real)
    odd = built.write("main/notes.txt", b"\xff\r\n" + cipher.encode() + b"\r\n")
    done = command("encrypt", "--rotate")
    assert "2 ciphers in 2 files are made anew" in done.stdout
    assert link.is_symlink()
    assert cipher not in real.read_text()
    assert odd.read_bytes().startswith(b"\xff\r\nKBC::")
    assert cipher.encode() not in odd.read_bytes()
    assert "the older keys can be removed" in done.stdout


@pytest.mark.rules("D18")
def test_older_keys_are_not_called_needless_while_a_cipher_was_left(
    built: ProjectBuilder, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = command("encrypt", "--component", "vendor.ex-foo", "--value", input="x").stdout.strip()
    escaped = built.configuration('\ufeff{"#a": "' + own.replace("::", "\\u003a\\u003a") + '"}')
    key = StateKey("vendor.ex-foo", "main")
    with open_storage(Settings.from_environment().storage) as storage:
        storage.commit(Commit(key="1", state={key: {"component": {"#t": "KBC::ProjectSecure::gAAAAABfromElsewhere"}}}))
    done = command("encrypt", "--rotate")
    assert refused(done).endswith(f"keep the older keys:\n  {escaped}: written with escapes\n  a state in Storage")
    assert "can be removed" not in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rotate", "nowhere.json"), "There is no nowhere.json"),
        (("--rotate", "--component", "x"), "--rotate goes without --component"),
        (("--new-key", "--value", "--rotate"), "--new-key goes without --value and --rotate"),
        (("--configuration", "1", "."), "--configuration needs --component ID"),
        (("--component", "x", "--value"), "There is no value on standard input"),
    ],
)  # fmt: skip
def test_options_that_would_have_no_effect_are_refused(command: Command, arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(command("encrypt", *arguments, input="\n"))


def test_an_emptied_file_of_keys_says_the_way_out_and_is_kept(built: ProjectBuilder, command: Command) -> None:
    file = write(built.folder / "home/keys", "\n")
    for arguments in (("--component", "x", "--value"), ("--rotate",)):
        message = refused(command("encrypt", *arguments, input="x"))
        assert f"{file}, is empty: put the keys back, or remove it" in message
    assert file.read_text() == "\n"
    file.write_text(new_key())
    assert command("encrypt", "--component", "x", "--value", input="x").exit_code == 0
