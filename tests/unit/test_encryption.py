"""Secrets: only ciphers, only for whom they were made, never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_runner.encryption import Encryptor, Scope, is_cipher, refuse_plain_secrets, secret_values
from docker_runner.errors import ConfigurationError, UserError

SCOPE = Scope(component="vendor.ex-foo", project="1", configuration="main")
FIRST = "dGhlIGZpcnN0IGtleSBvZiB0aGUgZW5jcnlwdG9yLi4="
SECOND = "dGhlIHNlY29uZCBrZXkgb2YgdGhlIGVuY3J5cHRvci4="
ENCRYPTOR = Encryptor((FIRST,))


@pytest.mark.rules("EN-1", "TV-9")
def test_only_scalars_under_hash_keys_are_encrypted() -> None:
    document = {"#a": "x", "#b": {"c": "y", "#d": "z"}, "e": "f"}
    encrypted = ENCRYPTOR.encrypt(document, SCOPE)
    assert is_cipher(encrypted["#a"])
    assert is_cipher(encrypted["#b"]["#d"])
    assert (encrypted["#b"]["c"], encrypted["e"]) == ("y", "f")
    assert ENCRYPTOR.decrypt(encrypted, SCOPE) == document


@pytest.mark.rules("EN-2", "EN-9")
@pytest.mark.parametrize(("value", "text"), [(True, "1"), (False, ""), (None, ""), (7, "7"), ("", "")])
def test_encrypted_values_come_back_as_texts(value: Any, text: str) -> None:
    assert ENCRYPTOR.decrypt(ENCRYPTOR.encrypt({"#a": value}, SCOPE), SCOPE) == {"#a": text}


@given(st.text(), st.sampled_from(["ComponentSecure", "ProjectSecure", "ConfigSecure", "ProjectWideSecure"]))
def test_any_text_survives_encryption(value: str, kind: str) -> None:
    cipher = ENCRYPTOR.encrypt_value(value, SCOPE, kind=kind)
    assert cipher.startswith(f"KBC::{kind}::")
    assert ENCRYPTOR.decrypt({"#a": cipher}, SCOPE)["#a"] == value


@pytest.mark.rules("EN-9", "EN-10")
def test_a_plain_value_is_refused_by_its_key_and_not_shown() -> None:
    for attempt in (
        lambda d: ENCRYPTOR.decrypt(d, SCOPE, file="c.json"),
        lambda d: refuse_plain_secrets(d, file="c.json"),
    ):
        with pytest.raises(ConfigurationError) as error:
            attempt({"parameters": {"db": [{"#password": "hunter2"}]}})
        assert (error.value.file, error.value.key) == ("c.json", "parameters.db[0].#password")
        assert "docker-runner encrypt" in error.value.problem
        assert "hunter2" not in str(error.value)


@pytest.mark.rules("EN-3", "EN-4", "EN-11")
@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("ComponentSecure", {"component"}),
        ("ProjectSecure", {"component", "project"}),
        ("ConfigSecure", {"component", "project", "configuration"}),
        ("ProjectWideSecure", {"project"}),
        ("BranchTypeSecure", {"component", "project", "branch_type"}),
        ("BranchTypeConfigSecure", {"component", "project", "configuration", "branch_type"}),
        ("ProjectWideBranchTypeSecure", {"project", "branch_type"}),
    ],
)
def test_a_cipher_is_refused_by_everybody_that_it_was_not_made_for(kind: str, bound: set[str]) -> None:
    document = {"#a": ENCRYPTOR.encrypt_value("hunter2", SCOPE, kind=kind)}
    for name in ("component", "project", "configuration", "branch_type"):
        other = replace(SCOPE, **{name: "another"})
        if name not in bound:
            assert ENCRYPTOR.decrypt(document, other) == {"#a": "hunter2"}
            continue
        with pytest.raises(ConfigurationError, match=f"made for another {name.replace('_', ' ')}"):
            ENCRYPTOR.decrypt(document, other)


@pytest.mark.rules("EN-4")
def test_a_cipher_that_claims_another_kind_is_refused() -> None:
    cipher = ENCRYPTOR.encrypt_value("hunter2", SCOPE, kind="ComponentSecure").replace(
        "ComponentSecure", "ConfigSecure"
    )
    with pytest.raises(ConfigurationError, match="another project and configuration"):
        ENCRYPTOR.decrypt({"#a": cipher}, SCOPE)


@pytest.mark.rules("EN-5")
@pytest.mark.parametrize("cloud", ["KV", "GKMS"])
def test_a_prefix_of_another_cloud_means_the_same(cloud: str) -> None:
    cipher = ENCRYPTOR.encrypt_value("hunter2", SCOPE, kind="ConfigSecure")
    other = cipher.replace("ConfigSecure::", f"ConfigSecure{cloud}::")
    assert ENCRYPTOR.decrypt({"#a": other}, SCOPE) == {"#a": "hunter2"}
    with pytest.raises(ConfigurationError, match="another configuration"):
        ENCRYPTOR.decrypt({"#a": other}, replace(SCOPE, configuration="another"))


@pytest.mark.rules("EN-9", "D18")
@pytest.mark.parametrize(
    "spoil", [lambda c: c[:-3], lambda c: c[:30] + "x" + c[31:], lambda _: "KBC::ProjectSecureKV::é"]
)
def test_a_cipher_of_another_installation_or_a_spoilt_one_says_what_to_do(spoil: Any) -> None:
    cipher = ENCRYPTOR.encrypt_value("hunter2", SCOPE)
    for encryptor, value in ((ENCRYPTOR, spoil(cipher)), (Encryptor((SECOND,)), cipher)):
        with pytest.raises(ConfigurationError, match="DOCKER_RUNNER_KEYS") as error:
            encryptor.decrypt({"#a": value}, SCOPE)
        assert error.value.key == "#a"
        assert value not in str(error.value)


@pytest.mark.rules("D18")
def test_keys_rotate_the_first_encrypts_and_all_decrypt() -> None:
    old = ENCRYPTOR.encrypt({"#a": "x"}, SCOPE)
    both = Encryptor((SECOND, FIRST))
    assert both.decrypt(old, SCOPE) == {"#a": "x"}
    assert Encryptor((SECOND,)).decrypt(both.encrypt({"#a": "y"}, SCOPE), SCOPE) == {"#a": "y"}


@pytest.mark.rules("EN-7", "EN-8")
@pytest.mark.parametrize(
    "value",
    [
        "{{ name }}", "{{vault.name}}", "KBC::ProjectSecureGKMS::abc", "KBC::Encrypted==abc", "KBC::Secure::abc",
        "KBC::ComponentProjectEncrypted==abc", ENCRYPTOR.encrypt_value("x", SCOPE),
    ],
)  # fmt: skip
def test_ciphers_and_placeholders_are_not_encrypted_again(value: str) -> None:
    assert ENCRYPTOR.encrypt({"#a": value}, SCOPE) == {"#a": value}


@pytest.mark.rules("EN-8")
def test_a_placeholder_is_neither_decrypted_nor_refused() -> None:
    assert ENCRYPTOR.decrypt({"#a": "{{ name }}"}, SCOPE) == {"#a": "{{ name }}"}
    refuse_plain_secrets({"#a": "{{ name }}", "#b": "", "#c": None})


@pytest.mark.rules("EN-8")
@pytest.mark.parametrize("value", ["x{{name}}", "{{name}} ", "{{{name}}}", "{{my secret!}}"])
def test_a_secret_that_only_looks_like_a_placeholder_is_encrypted(value: str) -> None:
    assert is_cipher(ENCRYPTOR.encrypt({"#a": value}, SCOPE)["#a"])


def test_without_a_key_nothing_is_encrypted_or_decrypted() -> None:
    for attempt in (
        lambda e: e.encrypt({"#a": "x"}, SCOPE),
        lambda e: e.decrypt(ENCRYPTOR.encrypt({"#a": "x"}, SCOPE), SCOPE),
    ):
        with pytest.raises(UserError, match="There is no encryption key"):
            attempt(Encryptor(()))


def test_a_document_without_secrets_needs_no_key() -> None:
    assert Encryptor(()).decrypt({"a": 1, "#b": ""}, SCOPE) == {"a": 1, "#b": ""}


def test_printing_an_encryptor_shows_no_key() -> None:
    assert FIRST not in f"{ENCRYPTOR!r} {ENCRYPTOR}"


@pytest.mark.rules("D18")
@pytest.mark.parametrize("wrong", ["a passphrase", "x" * 44, "dG9vIHNob3J0", "k\u00e9y"])
def test_what_is_no_random_key_is_refused_without_showing_it(wrong: str) -> None:
    with pytest.raises(UserError, match=r"Encryption key 2 of 2 is none: .*encrypt --new-key") as error:
        Encryptor((FIRST, wrong)).encrypt({"#a": "x"}, SCOPE)
    assert wrong not in str(error.value)


@pytest.mark.rules("D18")
def test_a_cipher_moves_to_the_first_key_and_keeps_value_kind_and_readers() -> None:
    old = ENCRYPTOR.encrypt_value("hunter2", SCOPE, kind="ConfigSecure")
    both = Encryptor((SECOND, FIRST))
    new = both.rotated(old)
    assert new is not None
    assert new.startswith("KBC::ConfigSecure::")
    assert Encryptor((SECOND,)).decrypt({"#a": new}, SCOPE) == {"#a": "hunter2"}
    with pytest.raises(ConfigurationError, match="another configuration"):
        both.decrypt({"#a": new}, replace(SCOPE, configuration="another"))
    assert both.rotated(new) is None
    with pytest.raises(UserError, match="none of this installation's keys"):
        ENCRYPTOR.rotated(new)


@pytest.mark.rules("LG-20")
def test_the_values_to_hide_are_all_texts_under_hash_keys() -> None:
    assert list(secret_values({"#a": "x", "#b": 5, "#c": "", "#d": None, "e": "no"})) == ["x", "5"]


@pytest.mark.rules("LG-20")
def test_texts_and_numbers_in_lists_and_maps_under_hash_keys_are_hidden_too() -> None:
    assert list(secret_values({"#l": ["x", {"k": 5, "#s": "y", "n": True}], "e": ["no"]})) == ["y", "x", "5"]
