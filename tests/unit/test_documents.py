"""Documents at the edge: each thing that can be wrong is one error naming file, key and what would be right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import ProjectBuilder, component_document, configuration, write

from docker_runner.documents import (
    checked,
    parse_document,
    parse_json,
    read_json,
    read_object,
    read_output,
    scalar_text,
)
from docker_runner.errors import ConfigurationError
from docker_runner.project_commands import config_data
from docker_runner.secret_keys import HIDDEN, hide_secrets, walk_secrets, walk_unsealed

TABLE = {"source": "in.c-main.t"}


def inputs(*tables: Any) -> dict[str, Any]:
    return {"storage": {"input": {"tables": list(tables)}}}


@pytest.mark.rules("CF-33", "CF-34", "IM-16")
@pytest.mark.parametrize(
    ("content", "key", "problem"),
    [
        ({"paramters": {}}, "", "Unknown key 'paramters'; did you mean 'parameters'?"),
        (
            inputs({**TABLE, "colums": []}),
            "storage.input.tables[0]",
            "Unknown key 'colums'; did you mean 'columns'?",
        ),
        ({"storage": {"inputs": {}}}, "storage", "Unknown key 'inputs'; did you mean 'input'?"),
        ({"storage": {"zzz": {}}}, "storage", "Unknown key 'zzz'; known keys are input, output."),
        (inputs(TABLE, {}), "storage.input.tables[1]", "The key 'source' is missing."),
        (inputs({"source": ""}), "storage.input.tables[0].source", "Must not be empty."),
        (inputs({**TABLE, "columns": "id"}), "storage.input.tables[0].columns", 'Must be a list or null, not "id".'),
        (
            inputs({**TABLE, "where_operator": "gt"}),
            "storage.input.tables[0].where_operator",
            "Must be one of 'eq', 'ne', not \"gt\".",
        ),
        (inputs({**TABLE, "overwrite": "true"}), "storage.input.tables[0].overwrite", "Must be true or false"),
        (inputs({**TABLE, "days": "ten"}), "storage.input.tables[0].days", 'Must be number of days, not "ten".'),
        ({"storage": []}, None, None),
        ({"storage": [1]}, "storage", "Must be a map, not a list."),
        (
            {"runtime": {"process_timeout": "60"}},
            "runtime.process_timeout",
            "Must be a whole number of seconds above 0",
        ),
        ({"runtime": {"process_timeout": 0}}, "runtime.process_timeout", "Must be a whole number of seconds above 0"),
        ({"runtime": {"process_timeout": 0}}, "runtime.process_timeout", "0"),
        ({"runtime": {"parallelism": "many"}}, "runtime.parallelism", "Must be a number from 0 to 100, or infinity"),
        ({"runtime": {"anything": 1}}, None, None),
        (
            {"processors": {"before": [{"definition": {}}]}},
            "processors.before[0].definition",
            "The key 'component' is missing.",
        ),
        (
            {"storage": {"output": {"tables": [{"source": "a", "column_metadata": [1]}]}}},
            "storage.output.tables[0].column_metadata",
            "Must be a map, not a list.",
        ),
        ({"variables_id": {}}, "variables_id", "not a map"),
        ("text", "", "Must be a map"),
    ],
)
def test_a_wrong_configuration_is_one_error_with_file_and_key(
    content: Any, key: str | None, problem: str | None
) -> None:
    if problem is None:
        assert configuration(content)
        return
    with pytest.raises(ConfigurationError) as error:
        configuration(content)
    assert error.value.file == "config.json"
    assert error.value.key == key
    assert problem in error.value.problem


@pytest.mark.rules("CF-35", "CF-36", "D1")
def test_defaults_are_filled_in_only_where_something_is_configured() -> None:
    assert configuration({}) == {"shared_code_row_ids": []}
    assert configuration({"storage": {}})["storage"] == {}
    content = configuration(
        {"storage": {"input": {"tables": [TABLE], "files": [{}]}, "output": {"tables": [{"source": "a"}]}}}
    )
    assert content["storage"]["input"]["tables"] == [
        {
            **TABLE, "columns": [], "column_types": [], "where_values": [], "where_operator": "eq",
            "overwrite": False, "keep_internal_timestamp_column": True,
        }
    ]  # fmt: skip
    assert content["storage"]["input"]["files"] == [{"overwrite": True}]
    assert content["storage"]["output"] == {
        "tables": [
            {
                "source": "a", "incremental": False, "primary_key": [], "columns": [], "distribution_key": [],
                "delete_where_values": [], "metadata": [], "column_metadata": {}, "tags": [], "schema": [],
                "delete_where_operator": "eq", "delimiter": ",", "enclosure": '"', "write_always": False,
            }
        ],
        "files": [],
    }  # fmt: skip


@pytest.mark.rules("CF-10", "D1")
def test_what_stands_in_parameters_is_never_touched() -> None:
    parameters = {"a": {}, "b": [], "c": None, "unknown": {"deep": [1, {"x": 1.5}]}}
    assert configuration({"parameters": parameters})["parameters"] == parameters


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{\n  "a": 1,\n}', "line 3, column 1"),
        (b"", "line 1, column 1"),
        (b'{"a": "\xe9"}', "not UTF-8 text (byte 7)"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1e999}', "too large"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_file_that_is_not_json_is_told_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    file = write(tmp_path / "config.json", content)
    with pytest.raises(ConfigurationError) as error:
        read_json(file)
    assert error.value.file == str(file)
    assert problem in error.value.problem


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.json: The file does not exist\."):
        read_json(tmp_path / "config.json")
    with pytest.raises(ConfigurationError, match="cannot be read: it is a folder, not a regular file"):
        read_json(tmp_path)
    (tmp_path / "device.json").symlink_to("/dev/null")
    with pytest.raises(ConfigurationError, match="cannot be read: it is a device, not a regular file"):
        read_json(tmp_path / "device.json")


@pytest.mark.parametrize("command", ["list", "validate"])
def test_a_pipe_in_the_place_of_a_configuration_is_told_instead_of_waited_for(
    built: ProjectBuilder, command: str
) -> None:
    file = built.configuration({})
    file.unlink()
    os.mkfifo(file)
    done = subprocess.run(
        [sys.executable, "-m", "docker_runner.cli", command],
        env={
            **os.environ,
            "DOCKER_RUNNER_PROJECT": str(built.directory),
            "DOCKER_RUNNER_COMPONENTS": str(built.folder / "components"),
            "DOCKER_RUNNER_HOME": str(built.folder / "home"),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "The file cannot be read: it is a pipe, not a regular file." in done.stdout


def test_a_configuration_that_a_command_is_given_may_come_through_a_pipe() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"a": 1}')
    os.close(writing)
    try:
        assert config_data(Path(f"/dev/fd/{reading}")) == {"a": 1}
    finally:
        os.close(reading)


def test_a_byte_order_mark_is_no_trouble(tmp_path: Path) -> None:
    assert read_json(write(tmp_path / "a.json", b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}


def test_a_wrong_value_is_shown_short() -> None:
    with pytest.raises(ConfigurationError) as error:
        configuration(inputs({**TABLE, "columns": "x" * 1000}))
    assert len(str(error.value)) < 150


@pytest.mark.rules("CD-11")
def test_yaml_holds_only_what_json_can(tmp_path: Path) -> None:
    text = "a: 2026-01-31\nb: [1, null]\n3: x\n"
    assert parse_document(text, extension="yml", file="f") == {"a": "2026-01-31", "b": [1, None], "3": "x"}
    for wrong in ("a: .nan", "a: !!set {x}", "a: !!binary aGk=", "&x [*x]", "a: !!python/object:os.system {}"):
        with pytest.raises(ConfigurationError, match=r"^f: This"):
            parse_document(wrong, extension="yml", file="f")


@pytest.mark.rules("D25")
def test_an_error_in_yaml_names_the_place_and_does_not_quote_the_line() -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_document('a: 1\n"#token": hunter2: x\n', extension="yml", file="out/state.yml")
    assert "line 2, column" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("content", ["", "  \n"])
def test_an_empty_output_file_counts_as_nothing(tmp_path: Path, content: str) -> None:
    assert read_output(write(tmp_path / "state.json", content), shown="out/state.json") is None
    assert read_output(tmp_path / "missing.json", shown="out/state.json") is None


def test_output_that_is_not_utf8_is_refused_and_not_mended(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^out/state\.json: The file is not UTF-8"):
        read_output(write(tmp_path / "state.json", b'{"a": "\xff"}'), shown="out/state.json")


@pytest.mark.rules("CD-10", "CD-11", "CD-12", "CD-13", "CD-16", "CD-17", "CD-20", "CD-24", "CD-25", "CD-29")
def test_a_component_gets_the_defaults_of_its_definition(tmp_path: Path) -> None:
    definition = read_object(write(tmp_path / "c.json", component_document()), "component")
    data = definition["data"]
    assert data["definition"] == {
        "type": "dockerhub", "uri": "vendor/foo", "tag": "latest", "digest": "", "name": None,
        "pull_policy": "if_not_present",
    }  # fmt: skip
    assert (data["memory"], data["configuration_format"], data["process_timeout"]) == ("256m", "json", 3600)
    assert (data["network"], data["default_bucket"], data["default_bucket_stage"]) == ("bridge", False, "in")
    assert data["staging_storage"] == {"input": "local", "output": "local"}
    assert data["logging"]["type"] == "standard"


@pytest.mark.rules("EN-1")
def test_secrets_are_found_at_any_depth_with_their_path() -> None:
    document = {"#a": "1", "b": [{"#c": 2}, {"d": {"#e": None}}], "#f": {"g": "no", "#h": "3"}}
    assert list(walk_secrets(document)) == [("#a", "1"), ("b[0].#c", 2), ("b[1].d.#e", None), ("#f.#h", "3")]
    assert hide_secrets(document) == {
        "#a": HIDDEN,
        "b": [{"#c": HIDDEN}, {"d": {"#e": HIDDEN}}],
        "#f": {"g": HIDDEN, "#h": HIDDEN},
    }


def test_what_stands_in_maps_and_lists_under_secret_keys_is_found_too() -> None:
    document = {"#a": "1", "#l": ["x", {"k": 2, "#s": "3"}, True, None, ""], "b": {"#m": {"n": {"o": "y"}}}, "c": "z"}
    assert list(walk_unsealed(document)) == [("#l[0]", "x"), ("#l[1].k", 2), ("b.#m.n.o", "y")]


@pytest.mark.parametrize(("value", "text"), [(None, ""), (True, "true"), (False, "false"), (1, "1"), ("a", "a")])
def test_scalars_become_texts_as_in_json(value: Any, text: str) -> None:
    assert scalar_text(value) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_parameters_pass_through_unchanged_whatever_they_are(parameters: Any) -> None:
    content = checked({"parameters": parameters}, "configuration")
    assert content["parameters"] == parameters
    assert parse_document(json.dumps(parameters), extension="json", file="f") == parameters


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,\n "b": 2,\n "a": 1}', "3: a"),
        ('{"a": {"b": [0, {\n"c": {}, "d": "x",\n\n"c": {}}]}}', "4: a.b[1].c"),
        ('[{"a": 1}, {"a": 1,\n"a": 2}]', "2: [1].a"),
    ],
)
def test_a_key_that_stands_twice_in_its_map_is_refused_in_files_that_people_keep(
    tmp_path: Path, text: str, place: str
) -> None:
    file = write(tmp_path / "config.json", text)
    with pytest.raises(ConfigurationError) as raised:
        read_json(file)
    assert str(raised.value) == f"{file}:{place}: The key stands here for a second time in its map."


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, -2, 2.5, true, null, {}], "b": "x y"}', ' {\r\n\t"a" : "\u00e9\u2028 / \x7f"\n}\n', '"a"', "[]", "",
        '{"a": {"b": 1, "b": 1}}', '{"a": 1, "\\u0061": 2}', '{"a": "\\/ \\u00e9 \\n \\ud83d\\ude00"}', '"\\ud83d"',
        "-0", "-0.0", "1.10", "1e2", "1E-7", "1e16", "1e22", "[0.1, 2.0, 5e-324, 1.7976931348623157e308]", "1e999",
        "18446744073709551616", "-9223372036854775809", "NaN", "-Infinity", "[1,]", "01", " ", '{"a": 1} 2', '"\t"',
        '"open', "\ufeff[1]", "{'a': 1}", "[" * 100_000, "[" * 300 + "]" * 300,
    ],
)  # fmt: skip
def test_a_file_says_the_same_whether_it_is_written_plainly_or_not(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(text.encode())

    def outcome(read: Callable[[], Any]) -> str:
        try:
            # Tells -0 from 0, and numbers with a point from those without.
            return repr(read())
        except ConfigurationError as error:
            return str(error)

    usual = outcome(lambda: parse_json(text.removeprefix("\ufeff"), file=file, unique=True))
    assert outcome(lambda: read_json(file)) == usual


def test_of_keys_that_a_component_writes_twice_the_last_one_counts() -> None:
    assert parse_document('{"a": 1, "a": 2}', extension="json", file="state.json") == {"a": 2}
