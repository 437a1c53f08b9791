"""Images built from git: what a component's options and a configuration's values make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, component
from tests.installation import Installation

from docker_runner.errors import ConfigurationError
from docker_runner.project.build_options import BuildPlan, build_plan, declared_values
from docker_runner.project.component import Component

ADDRESS = "https://example.com/app.git"
CIPHER = "KBC::ComponentSecure::abc"


def definition(**options: Any) -> dict[str, Any]:
    """The image definition of a component that is built."""
    known = {
        "parent_type": "dockerhub",
        "repository": {"uri": ADDRESS, "type": "git"},
        "entry_point": "python3 /home/main.py",
    }
    return {"type": "builder", "uri": "vendor/parent", "tag": "3", "build_options": {**known, **options}}


def parameter(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": False, **more}


def plan(
    *declared: dict[str, Any], parameters: Any = None, runtime: Any = None, command: str = "", **options: Any
) -> BuildPlan:
    commands = {"commands": [command]} if command else {}
    found = component(definition=definition(parameters=list(declared), **commands, **options)).build_options
    assert found is not None
    return build_plan(found, declared_values(found, parameters=parameters or {}, runtime=runtime or {}))


@pytest.mark.rules("CD-3", "CD-9", "IG-20")
def test_options_have_their_defaults_and_the_parent_is_named_by_the_definition() -> None:
    found = component(definition=definition(parent_type="quayio", parameters=[{"name": "a", "type": "string"}]))
    assert found.build_options is not None
    assert found.build_options["cache"] is True
    assert found.build_options["commands"] == []
    assert found.build_options["parameters"] == [{"name": "a", "type": "string", "required": True, "values": []}]
    assert found.image().reference == "quay.io/vendor/parent:3"
    assert found.image("4").reference == "quay.io/vendor/parent:4"


@pytest.mark.rules("CD-9", "IG-20", "IG-21", "IG-28", "EN-9")
@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"parent_type": "builder"}, "parent_type", "Must be one of 'dockerhub'"),
        ({"repository": {"type": "git"}}, "repository", "The key 'uri' is missing."),
        ({"repository": {"uri": ADDRESS}}, "repository", "The key 'type' is missing."),
        ({"repository": {"uri": ADDRESS, "type": "svn"}}, "repository.type", "Must be one of 'git'"),
        ({"entry_point": ""}, "entry_point", "Must not be empty."),
        ({"commands": "make"}, "commands", "Must be a list"),
        ({"parameters": [{"name": "a"}]}, "parameters[0]", "The key 'type' is missing."),
        ({"parameters": [{"type": "string"}]}, "parameters[0]", "The key 'name' is missing."),
        ({"parameters": [parameter("a", "float")]}, "parameters[0].type", "Must be one of 'int'"),
        ({"parameters": [parameter("a", "enumeration")]}, "parameters[0].values", "An enumeration needs values."),
        (
            {"repository": {"uri": ADDRESS, "type": "git", "username": "u", "#password": "plain"}},
            "repository.#password",
            "not encrypted",
        ),
    ],
)
def test_wrong_options_name_file_and_key(
    built: ProjectBuilder, options: dict[str, Any], key: str, problem: str
) -> None:
    file = built.component(definition=definition(**options))
    with pytest.raises(ConfigurationError) as error:
        built.registry.get("vendor.ex-foo")
    assert (error.value.file, error.value.key) == (str(file), f"data.definition.build_options.{key}")
    assert problem in error.value.problem


@pytest.mark.rules("IG-20")
@pytest.mark.parametrize("missing", ["parent_type", "repository", "entry_point"])
def test_options_that_are_required_are_missed(built: ProjectBuilder, missing: str) -> None:
    image = definition()
    del image["build_options"][missing]
    built.component(definition=image)
    with pytest.raises(ConfigurationError, match=f"build_options: The key '{missing}' is missing"):
        built.registry.get("vendor.ex-foo")


@pytest.mark.rules("IG-21")
@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("integer", 12, "12"),
        ("integer", "-12", "-12"),
        ("int", 3.0, "3"),
        ("string", "a b; $x", "a b; $x"),
        ("string", 1.5, "1.5"),
        ("string", True, "true"),
        ("argument", "it's; rm -rf $x", "'it'\"'\"'s; rm -rf $x'"),
        ("plain_string", "v1.0_b-2", "v1.0_b-2"),
        ("enumeration", "b", "b"),
        ("enumeration", 1, "1"),
    ],
)
def test_values_are_written_by_their_type(kind: str, value: Any, text: str) -> None:
    made = plan(parameter("p", kind, values=["a", "b", 1]), parameters={"p": value}, command="run {{p}} end")
    assert made.commands == (f"run {text} end",)


@pytest.mark.rules("IG-21")
@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("integer", "12a", "Must be a whole number."),
        ("integer", 1.5, "Must be a whole number."),
        ("integer", True, "Must be a whole number."),
        ("int", "", "Must be a whole number."),
        ("string", {"a": 1}, "Must be a text"),
        ("argument", ["a"], "Must be a text"),
        ("plain_string", "a b", "letters, digits"),
        ("plain_string", "a\n", "letters, digits"),
        ("plain_string", "", "letters, digits"),
        ("enumeration", "c", "Must be one of 'a', 'b', '1'."),
    ],
)
def test_a_wrong_value_names_the_parameter(kind: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        plan(parameter("p", kind, values=["a", "b", 1]), parameters={"p": value})
    assert error.value.key == "parameters.p"
    assert problem in error.value.problem


@pytest.mark.rules("IG-22")
def test_values_come_from_root_keys_of_parameters_then_of_runtime_and_only_if_declared() -> None:
    declared = [parameter(name) for name in ("a", "b", "c")]
    made = plan(
        *declared,
        parameters={"a": "pa", "b": "pb", "nested": {"c": "no"}, "undeclared": "no"},
        runtime={"b": "rb", "c": "rc"},
        command="{{a}} {{b}} {{c}}",
    )
    assert made.commands == ("pa rb rc",)
    with pytest.raises(ConfigurationError, match=r"no value for \{\{undeclared\}\}"):
        plan(*declared, parameters={"undeclared": "x"}, command="{{undeclared}}")
    with pytest.raises(ConfigurationError, match=r"no value for \{\{c\}\}"):
        plan(*declared, parameters={"nested": {"c": "no"}}, command="{{c}}")


@pytest.mark.rules("IG-23")
def test_special_names_of_runtime_work_only_if_they_are_declared() -> None:
    runtime = {
        "repository": "https://example.com/mine.git",
        "version": "2.0",
        "username": "me",
        "#password": CIPHER,
        "network": "none",
    }
    declared = [parameter(name) for name in runtime]
    made = plan(*declared, runtime=runtime, command="{{repository}} {{version}} {{network}}", version="1.0")
    assert (made.repository, made.version, made.username, made.password, made.network) == (
        "https://example.com/mine.git", "2.0", "me", CIPHER, "none",
    )  # fmt: skip
    assert made.commands == ("https://example.com/mine.git 2.0 none",)
    made = plan(runtime=runtime, version="1.0")
    assert (made.repository, made.version, made.username, made.password, made.network) == (ADDRESS, "1.0", "", "", "")
    # In parameters these names mean nothing special.
    elsewhere = plan(*declared, parameters={**runtime, "#password": "KBC::x"})
    assert (elsewhere.repository, elsewhere.username, elsewhere.network) == (ADDRESS, "", "")


@pytest.mark.rules("IG-23")
def test_a_network_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"runtime\.network: Must be one of 'none', 'bridge', 'no-internet'"):
        plan(parameter("network"), runtime={"network": "host"})


@pytest.mark.rules("IG-20", "IG-23", "D15")
def test_the_components_own_login_is_never_sent_to_another_repository() -> None:
    own = {"uri": ADDRESS, "type": "git", "username": "vendor", "#password": CIPHER}
    declared = [parameter(name) for name in ("repository", "username", "#password")]
    assert plan(*declared, repository=own).username == "vendor"
    assert plan(*declared, repository=own, runtime={"repository": ADDRESS}).password == CIPHER
    other = plan(*declared, repository=own, runtime={"repository": "https://evil.example.com/app.git"})
    assert (other.username, other.password) == ("", "")
    with pytest.raises(ConfigurationError, match=r"runtime\.#password: A login to a repository needs"):
        plan(*declared, repository=own, runtime={"username": "me"})


@pytest.mark.rules("IG-24", "IG-20")
@pytest.mark.parametrize(
    ("runtime", "options", "cache", "layer_cache"),
    [
        ({}, {}, True, True),
        ({"version": "1.0"}, {}, True, True),
        ({"version": "master"}, {}, True, False),
        ({}, {"version": "master"}, True, True),
        ({}, {"cache": False}, False, False),
    ],
)
def test_version_master_of_runtime_and_cache_false_switch_the_build_cache_off(
    runtime: dict[str, Any], options: dict[str, Any], cache: bool, layer_cache: bool
) -> None:
    made = plan(parameter("version"), runtime=runtime, **options)
    assert (made.cache, made.layer_cache) == (cache, layer_cache)


@pytest.mark.rules("IG-25")
def test_a_required_parameter_needs_a_value_and_repository_is_always_there() -> None:
    assert plan(command="echo {{repository}}").commands == (f"echo {ADDRESS}",)
    required = {"name": "p", "type": "string"}
    with pytest.raises(ConfigurationError, match=r"runtime\.p: The value is required"):
        plan(required, parameters={"p": None})
    assert plan({**required, "default_value": 7}, command="{{p}}").commands == ("7",)
    assert plan({"name": "repository", "type": "string"}).repository == ADDRESS


@pytest.mark.rules("IG-26", "IG-27")
def test_placeholders_have_no_blanks_and_values_are_not_searched_for_more() -> None:
    made = plan(
        parameter("a"), parameter("b"), parameters={"a": "{{b}}", "b": "B"},
        command="{{a}} {{ a }} {{.Id}} {a}", entry_point="run {{b}}",
    )  # fmt: skip
    assert made.commands == ("{{b}} {{ a }} {{.Id}} {a}",)
    assert made.entry_point == "run B"


@pytest.mark.rules("IG-27", "D15")
@pytest.mark.parametrize("node", ["parameters", "runtime"])
def test_placeholders_that_are_left_are_listed_and_logins_are_never_put_in(node: str) -> None:
    declared = [parameter(name) for name in ("username", "#password", "#token", "empty")]
    values = {node: {"username": "user", "#password": CIPHER, "#token": CIPHER}}
    with pytest.raises(ConfigurationError) as error:
        plan(
            *declared, **values, command="{{username}} {{#password}} {{#token}} {{empty}}", entry_point="{{x}}",
        )  # fmt: skip
    assert "{{username}}, {{#password}}, {{#token}}, {{empty}}, {{x}}." in error.value.problem
    assert "KBC" not in error.value.problem


@pytest.mark.rules("IG-26", "D15")
@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("git clone {{repository}} /home/", ":"),
        ("git clone -b {{version}} --depth 1 {{repository}} /home/ && make", ": && make"),
        ("git clone {{repository}} . 2>&1 || (echo 'KBC::USER_ERR:No.KBC::USER_ERR' && exit 1)",
         ": || (echo 'KBC::USER_ERR:No.KBC::USER_ERR' && exit 1)"),
        ('cd /home; git -c http.sslVerify=false clone "{{repository}}" /home', "cd /home; :"),
        ("git clone https://example.com/public.git /opt/x", "git clone https://example.com/public.git /opt/x"),
    ],
)  # fmt: skip
def test_old_commands_that_clone_the_repository_do_nothing_more(command: str, left: str) -> None:
    made = plan(parameter("version"), runtime={"version": "1"}, command=command)
    assert made.commands == (left,)


@pytest.mark.rules("D15")
@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("git clone {{repository}}", "clone to /home/"),
        ("git clone {{repository}} /code", "clone to /home/"),
        ("git clone --recursive {{repository}} /home/", "Submodules"),
        ("git clone '{{repository}} /home/", "quotes"),
    ],
)
def test_a_clone_to_another_place_is_refused_with_the_component(
    built: ProjectBuilder, command: str, problem: str
) -> None:
    built.component(definition=definition(commands=["make", command]))
    with pytest.raises(ConfigurationError, match=problem) as error:
        built.registry.get("vendor.ex-foo")
    assert error.value.key == "data.definition.build_options.commands[1]"


@pytest.mark.rules("IG-26")
def test_a_list_is_a_program_with_its_arguments() -> None:
    made = plan(parameter("p"), parameters={"p": 'x"]'}, entry_point='["python3", "main.py", "{{p}}"]')
    assert made.entry_point == ("python3", "main.py", 'x"]')
    assert plan(command="[ -f x ] && make").commands == ("[ -f x ] && make",)


@pytest.mark.rules("IG-25", "IG-27", "IG-28", "LC-5")
@pytest.mark.parametrize(
    ("configuration", "key"),
    [
        ({"runtime": {"repository": ""}}, "runtime.repository"),
        ({"runtime": {"repository": "https://user:hunter2@example.com/a.git"}}, "runtime.repository"),
        ({"runtime": {"version": "--option"}}, "runtime.version"),
        ({"parameters": {"p": "x"}}, "parameters.p"),
        ({"runtime": {"username": "u"}}, "runtime.#password"),
    ],
)
def test_a_wrong_value_is_found_before_anything_runs(
    built: ProjectBuilder, configuration: dict[str, Any], key: str
) -> None:
    declared = [
        parameter("p", "int"),
        *(parameter(name) for name in ("repository", "version", "username", "#password")),
    ]
    uri = "" if configuration.get("runtime", {}).get("repository") == "" else ADDRESS
    built.component(definition=definition(parameters=declared, repository={"uri": uri, "type": "git"}))
    file = built.configuration(configuration)
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), key)
    assert "hunter2" not in str(error.value)


@pytest.mark.rules("IG-28")
def test_an_address_that_is_wrong_in_the_definition_is_not_blamed_on_the_configuration(built: ProjectBuilder) -> None:
    own = {"uri": "/srv/app.git", "type": "git"}
    built.component(definition=definition(parameters=[parameter("repository")], repository=own))
    wrong = r"In the component's definition \(data\.definition\.build_options\.repository\): .*must begin with https://"
    built.configuration({"parameters": {}})
    with pytest.raises(ConfigurationError, match=wrong):
        built.job()
    built.configuration({"runtime": {"repository": "/srv/other.git"}})
    with pytest.raises(ConfigurationError, match="must begin with https://") as error:
        built.job()
    assert "definition" not in str(error.value)


def documented(schema: str) -> Iterator[Any]:
    """The samples of the documentation."""
    text = (Path(__file__).parents[3] / "docs" / "images.md").read_text()
    for block in re.findall(r"```json\n(.*?)```", text.split("## Images from git")[1], re.DOTALL):
        sample = json.loads(block)
        if ("data" in sample) == (schema == "component"):
            yield sample


@pytest.mark.rules("IG-31")
def test_the_documented_component_and_its_configuration_work() -> None:
    (sample,) = documented("component")
    (configuration,) = documented("configuration")
    options = Component.from_document(sample).build_options
    assert options is not None
    made = build_plan(options, declared_values(options, **configuration))
    assert (made.repository, made.version) == ("https://github.com/my-team/forecast.git", "1.2.0")
    assert made.username == "robot"


@pytest.mark.rules("LC-5", "IG-21")
def test_validate_names_file_and_line_of_a_value_that_an_image_cannot_be_built_with(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.component("vendor.science", {"definition": definition(parameters=[parameter("p", "integer")])})
    file = installation.configuration("main", {"parameters": {"p": "x"}}, component="vendor.science")
    done = installation.command("validate")
    assert done.returncode == 1
    assert f"{file.relative_to(installation.settings.project)}" in done.stdout
    assert "parameters.p: Must be a whole number." in done.stdout
