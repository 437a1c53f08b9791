from __future__ import annotations

import pytest

pytestmark = pytest.mark.engine

PARAMETERS = {"airport": "JFK", "author": "the night shift", "worst_days": 1}


@pytest.fixture
def tables(data):
    kennedy = ["JFK", "John F Kennedy Intl", "40.6", "-73.8", "13"]
    columns = ["faa", "name", "lat", "lon", "alt"]
    manifest = {"id": "in.c-x.places", "name": "places", "primary_key": ["faa"], "columns": columns}
    data.table("airports.csv", [columns, kennedy], manifest=manifest)
    data.table(
        "daily_delays.csv",
        [
            ["day", "origin", "carrier", "flights", "cancelled", "average_departure_delay", "delayed_share"],
            ["2013-01-01", "JFK", "AA", "10", "0", "1.00", "0.1000"],
            ["2013-01-01", "JFK", "UA", "10", "2", "9.00", "0.5000"],
            ["2013-01-02", "JFK", "AA", "20", "0", "0.00", "0.0000"],
            ["2013-01-02", "LGA", "AA", "99", "9", "9.00", "0.9000"],
        ],
    )
    return data


def test_the_report_tells_the_days_the_flights_and_who_wrote_it(tables, run_image):
    outcome = run_image("airport-report", PARAMETERS)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    report = (tables.path / "out/files/airport-report-JFK.md").read_text()
    assert report.startswith("# John F Kennedy Intl (JFK)\n")
    assert "From 2013-01-01 to 2013-01-02." in report
    assert "- 40 flights of 2 airlines on 2 days" in report
    assert "- 2 cancelled (5.0%), 5 delayed (12.5%)" in report
    assert "| 2013-01-01 | 20 | 2 | 5 |" in report
    assert "| 2013-01-02" not in report
    assert report.endswith("Written by the night shift.\n")


def test_the_reports_manifest_tags_it_with_its_airport(tables, run_image):
    run_image("airport-report", PARAMETERS)
    manifest = tables.written_json("files/airport-report-JFK.md.manifest")
    assert manifest["tags"] == ["airport-report", "JFK"]
    assert manifest["is_public"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"airport": "XXX"}, "Parameter 'airport': there is no airport 'XXX' in airports.csv."),
        ({"airport": None}, "Parameter 'airport' must be a text, not None."),
        ({"author": " "}, "Parameter 'author' must be a text, not ' '."),
        ({"worst_days": -1}, "Parameter 'worst_days' must be a whole number from 0 to 31, not -1."),
    ],
)
def test_a_wrong_parameter_is_a_user_error_that_names_it_and_leaves_no_report(tables, run_image, change, message):
    outcome = run_image("airport-report", {**PARAMETERS, **change})
    assert (outcome.exit_code, outcome.stderr) == (1, message)
    assert list((tables.path / "out/files").iterdir()) == []
