from __future__ import annotations

import gzip

import pytest

pytestmark = pytest.mark.engine

SKIP = {"column": "carrier", "values": ["OO", "Y,V"]}
ADD = {"column": "written_by", "value_from": "config_id"}
ROWS = [["carrier", "note"], ["UA", 'says "hi",\nleaves'], ["OO", "x"], ["Y,V", ""], ["oo", "žluť"]]


@pytest.mark.rules("PR-5")
def test_skip_rows_leaves_out_given_values_and_nothing_else(data, run_image):
    data.table("a.csv", ROWS, manifest={"id": "in.c-x.a", "columns": ["carrier", "note"], "primary_key": ["carrier"]})
    outcome = run_image("processor-skip-rows", SKIP)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert data.written_rows("a.csv") == [ROWS[0], ROWS[1], ROWS[4]]
    manifest = data.written_json("tables/a.csv.manifest")
    assert manifest == {"id": "in.c-x.a", "columns": ["carrier", "note"], "primary_key": ["carrier"]}
    assert "a.csv: 2 of 4 rows left out." in outcome.stdout


@pytest.mark.rules("PR-5")
@pytest.mark.parametrize(("image", "parameters"), [("processor-skip-rows", SKIP), ("processor-add-column", ADD)])
def test_a_processor_copies_files_sliced_files_and_their_manifests(data, run_image, image, parameters):
    files = data.path / "in/files"
    (files / "1_sliced").mkdir()
    (files / "1_sliced/part").write_bytes(b"\x00\xff")
    (files / "1_sliced.manifest").write_text('{"id": 1}')
    assert run_image(image, parameters).exit_code == 0
    assert (data.path / "out/files/1_sliced/part").read_bytes() == b"\x00\xff"
    assert data.written_json("files/1_sliced.manifest") == {"id": 1}


def test_skip_rows_works_on_headless_and_on_compressed_sliced_tables(data, run_image):
    data.table("headless.csv", [["UA", "1"], ["OO", "2"]], manifest={"columns": ["carrier", "n"]})
    (data.path / "in/tables/sliced.csv").mkdir()
    (data.path / "in/tables/sliced.csv/0").write_text("OO,1\nUA,2\n")
    (data.path / "in/tables/sliced.csv/1.gz").write_bytes(gzip.compress(b"OO,3\nDL,4\n"))
    data.manifest("sliced.csv", {"schema": [{"name": "carrier"}, {"name": "n"}]})
    outcome = run_image("processor-skip-rows", SKIP)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert data.written_rows("headless.csv") == [["UA", "1"]]
    assert (data.path / "out/tables/sliced.csv/0").read_text() == "UA,2\n"
    assert gzip.decompress((data.path / "out/tables/sliced.csv/1.gz").read_bytes()) == b"DL,4\n"


def test_skip_rows_keeps_the_delimiter_and_enclosure_of_the_manifest(data, run_image):
    (data.path / "in/tables/a.csv").write_text("carrier\tnote\nUA\t'a\tb'\nOO\tc\n")
    data.manifest("a.csv", {"delimiter": "\t", "enclosure": "'"})
    assert run_image("processor-skip-rows", SKIP).exit_code == 0
    assert (data.path / "out/tables/a.csv").read_text() == "carrier\tnote\nUA\t'a\tb'\n"


def test_add_column_notes_the_configuration_in_every_row_and_in_the_manifest(data, run_image):
    data.table("header.csv", [["a"], ["1"]], manifest={"primary_key": ["a"], "incremental": True})
    data.table("headless.csv", [["1"]], manifest={"columns": ["a"], "primary_key": ["a"]})
    data.table("typed.csv", [["a"], ["1"]], manifest={"schema": [{"name": "a"}], "has_header": True})
    outcome = run_image("processor-add-column", ADD, KBC_CONFIGID="new-york")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert data.written_rows("header.csv") == [["a", "written_by"], ["1", "new-york"]]
    assert data.written_json("tables/header.csv.manifest") == {"primary_key": ["a"], "incremental": True}
    assert data.written_rows("headless.csv") == [["1", "new-york"]]
    assert data.written_json("tables/headless.csv.manifest") == {"columns": ["a", "written_by"], "primary_key": ["a"]}
    assert data.written_rows("typed.csv") == [["a", "written_by"], ["1", "new-york"]]
    assert data.written_json("tables/typed.csv.manifest")["schema"] == [{"name": "a"}, {"name": "written_by"}]


@pytest.mark.parametrize(
    ("image", "parameters", "message"),
    [
        ("processor-skip-rows", {**SKIP, "column": "airline"}, "Table a.csv has no column 'airline'"),
        ("processor-skip-rows", {**SKIP, "values": ["x", 1]}, "Parameter 'values[1]' must be a text, not 1."),
        ("processor-skip-rows", {"column": "carrier"}, "Parameter 'values' must be a list"),
        ("processor-add-column", {**ADD, "column": "note"}, "table a.csv has a column 'note' already."),
        ("processor-add-column", {**ADD, "value": "x"}, "Give either the parameter 'value' (a text) or 'value_from'"),
        ("processor-add-column", {**ADD, "value_from": "token"}, "Parameter 'value_from' must be one of run_id"),
    ],
)
def test_a_wrong_parameter_of_a_processor_is_a_user_error_that_names_it(data, run_image, image, parameters, message):
    data.table("a.csv", ROWS)
    outcome = run_image(image, parameters)
    assert outcome.exit_code == 1
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
