from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.engine

COLUMNS = ["year", "month", "day", "dep_delay", "carrier", "origin"]
FLIGHTS = [
    COLUMNS,
    ["2013", "1", "2", "-3", "UA", "JFK"],
    ["2013", "1", "2", "15", "UA", "JFK"],
    ["2013", "1", "2", "NA", "UA", "JFK"],
    ["2013", "1", "1", "", "AA", "LGA"],
]


def test_flights_become_one_row_per_day_airport_and_airline(data, run_image):
    data.table("flights.csv", FLIGHTS, manifest={"id": "in.c-x.f", "name": "f", "columns": COLUMNS})
    outcome = run_image("daily-delays", {"delayed_from_minutes": 15})
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert data.written_rows("daily_delays.csv") == [
        ["day", "origin", "carrier", "flights", "cancelled", "average_departure_delay", "delayed_share"],
        ["2013-01-01", "LGA", "AA", "1", "1", "", ""],
        ["2013-01-02", "JFK", "UA", "3", "1", "6.00", "0.5000"],
    ]
    manifest = data.written_json("tables/daily_delays.csv.manifest")
    assert manifest["primary_key"] == ["day", "origin", "carrier"]
    assert manifest["incremental"] is True
    assert "columns" not in manifest, "columns in the manifest would say that the file has no header"
    assert "4 flights of 2 days read from flights.csv." in outcome.stdout


def test_the_manifest_names_its_columns_and_its_header_where_tables_are_typed(data, run_image):
    data.table("flights.csv", FLIGHTS)
    outcome = run_image("daily-delays", {}, KBC_DATA_TYPE_SUPPORT="authoritative")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    manifest = data.written_json("tables/daily_delays.csv.manifest")
    assert [column["name"] for column in manifest["schema"]][:3] == ["day", "origin", "carrier"]
    assert manifest["has_header"] is True


def test_the_state_counts_runs_and_keeps_the_last_day_ever_seen(data, run_image):
    data.table("flights.csv", FLIGHTS)
    (data.path / "in/state.json").write_text(json.dumps({"runs": 6, "last_day": "2013-01-31"}))
    assert run_image("daily-delays", {}).exit_code == 0
    assert data.written_json("state.json") == {"runs": 7, "last_day": "2013-01-31"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"delayed_from_minutes": "late"},
            "Parameter 'delayed_from_minutes' must be a whole number from 1 to 1440, not 'late'.",
        ),
        ({"minutes": 15}, "Unknown parameter 'minutes': the only parameter is 'delayed_from_minutes'."),
    ],
)
def test_a_wrong_parameter_is_a_user_error_that_names_it_and_nothing_else(data, run_image, parameters, message):
    data.table("flights.csv", FLIGHTS)
    outcome = run_image("daily-delays", parameters)
    assert (outcome.exit_code, outcome.stderr) == (1, message)
    assert list((data.path / "out/tables").iterdir()) == []


def test_a_row_that_is_not_a_flight_is_a_user_error_with_its_number(data, run_image):
    data.table("flights.csv", [*FLIGHTS, ["2013", "13", "1", "0", "UA", "JFK"]])
    outcome = run_image("daily-delays", {})
    assert (outcome.exit_code, outcome.stderr) == (1, "Row 5 of the table of flights: month must be in 1..12.")


def test_missing_columns_are_a_user_error_that_lists_them(data, run_image):
    data.table("flights.csv", [["year", "month", "day"], ["2013", "1", "1"]])
    outcome = run_image("daily-delays", {})
    assert outcome.exit_code == 1
    assert "lacks the columns dep_delay, carrier, origin" in outcome.stderr


def test_the_action_validate_answers_with_json_alone(data, run_image):
    outcome = run_image("daily-delays", {"delayed_from_minutes": 30}, action="validate")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout)["message"] == "Departures count as delayed from 30 minutes on."


def test_the_action_validate_refuses_wrong_parameters(data, run_image):
    outcome = run_image("daily-delays", {"delayed_from_minutes": 0}, action="validate")
    assert outcome.exit_code == 1
    assert "Parameter 'delayed_from_minutes'" in outcome.stderr
