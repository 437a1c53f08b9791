"""Full-text queries of stored files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.storage.base import Commit, FileQuery, FileUpload
from docker_runner.storage.lake.file_fields import time_span
from docker_runner.storage.lake.lake import Lake

Names = Callable[..., str]

FILES = {
    "a": ("Monthly report_2024.zip", ("in", "a b"), 10),
    "b": ("report.csv", ("in", "done"), 20),
    "c": ("100%_x.csv", ("componentId: vendor.x", "In"), 30),
    "d": ("ünïcode-name.ZIP", (), 40),
}
# "now" of the tests of times below: the files are made to be stored on these days.
DAYS = {
    "a": "2025-12-31T23:59:59.500000",
    "b": "2026-01-01T00:00:00",
    "c": "2026-01-31T12:00:00",
    "d": "2026-02-01T10:30:00",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    from docker_runner.storage.lake.location import parse_location

    folder = tmp_path_factory.mktemp("files")
    lake = Lake(parse_location(f"ducklake:sqlite:{folder}/catalog.sqlite"))
    for key, (name, tags, size) in FILES.items():
        (folder / key).write_bytes(b"x" * size)
        upload = FileUpload(folder / key, name, tags, is_permanent=key == "d", is_public=key in "ab")
        (file,) = lake.commit(Commit(key, files=(upload,))).files
        lake._connection.run(
            "UPDATE lake._docker_runner.files SET document = replace(document, ?, ?) WHERE id = ?",
            [f'"created":"{file.created.isoformat()}"', f'"created":"{DAYS[key]}+00:00"', file.id],
        )
    return lake


@pytest.fixture
def names(stored: Lake) -> Names:
    """The keys of the files that match, in the order of FILES."""

    def find(query: str, **options: object) -> str:
        found = {file.name for file in stored.files(FileQuery(query=query, **options))}  # type: ignore[arg-type]
        return "".join(key for key, (name, _, _) in FILES.items() if name in found)

    return find


@pytest.mark.rules("IF-3")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # whole tags, as they are spelled
        ("tags:in", "ab"), ("tags:In", "c"), ('tags:"a b"', "a"), (r"tags:a\ b", "a"), ("tags:a", ""),
        ('tags:"componentId: vendor.x"', "c"), (r"tags:componentId\:\ vendor.x", "c"), ("tags:componentId*", "c"),
        ("tags:d?ne", "b"), ("tags:*", "abc"), ("NOT tags:*", "d"), ("_exists_:tags", "abc"), ('tags:"d?ne"', ""),
        # names: the whole, or words of it, in any case
        ("name:report.csv", "b"), ("name:REPORT", "ab"), ('name:"monthly report"', "a"), ('name:"report monthly"', ""),
        ("name:repor", ""), ("name:repor*", "ab"), ("name:*.zip", "ad"), ("name:*zip AND name:monthly*", "a"),
        (r"name:100\%*", "c"), ("name:100%_?.csv", "c"), ("name:???%*", "c"), ("name:ÜNÏCODE", "d"), ("name:_", ""),
        ("name:(monthly OR csv)", "abc"), (r"name:report\*", "ab"),
        # words without a field
        ("report", "ab"), ("done", "b"), ("in", "ab"), ('"a b"', "a"), ("*port*", "ab"), ("*", "abcd"), ("*:*", "abcd"),
        ("ve?dor*", ""), ("*vendor*", "c"),
        # operators
        ("tags:in AND NOT tags:done", "a"), ("tags:in OR tags:In", "abc"), ("tags:done tags:In", "bc"),
        ("tags:In OR tags:in AND tags:done", "bc"), ("(tags:In OR tags:in) AND tags:done", "b"),
        ("+tags:in tags:done", "ab"), ("+tags:in -tags:done", "a"), ("zip csv -report", "cd"), ("-tags:in", "cd"),
        ("+tags:in +tags:done", "b"), ("tags:(in AND done)", "b"), ("tags:(+in -done)", "a"),
        ("NOT (report OR zip)", "c"), ("tags:in and tags:done", "ab"),
        # flags and numbers
        ("isPublic:true", "ab"), ("isPublic:False AND isPermanent:true", "d"), ("isSliced:true", ""),
        ("isEncrypted:true", "abcd"), ("sizeBytes:20", "b"), ('sizeBytes:"20"', "b"), ("sizeBytes:>20", "cd"),
        ("sizeBytes:>=20", "bcd"), ("sizeBytes:<20", "a"), ("sizeBytes:<=20", "ab"), ("sizeBytes:[20 TO 30]", "bc"),
        ("sizeBytes:{20 TO 30]", "c"), ("sizeBytes:[20 TO 30}", "b"), ("sizeBytes:[20 TO *]", "bcd"),
        ("sizeBytes:[* TO 20}", "a"), ("sizeBytes:[-5 TO 10]", "a"), ("maxAgeDays:15", "abc"),
        ("NOT maxAgeDays:15", "d"), ("maxAgeDays:*", "abc"), ("sizeBytes:(10 OR 40)", "ad"),
        # times
        ("created:2026-01", "bc"), ("created:2026", "bcd"), ("created:2026-01-01", "b"), ("created:>2026-01-31", "d"),
        ("created:>=2026-01-31", "cd"), ("created:<2026-01-01", "a"), ("created:<=2026-01-01", "ab"),
        ("created:[2026-01-01 TO 2026-01-31]", "bc"), ("created:{2026-01-01 TO 2026-01-31}", ""),
        ("created:[2026-01-31T12:00:00Z TO *]", "cd"), ("created:>=2026-02-01T10:30", "d"),
        ('created:"2026-02-01T11:30:00+01:00"', "d"), ("created:[* TO now]", "abcd"), ("created:>now+1d", ""),
        ('created:"2025-12-31T23:59:59.5"', "a"), ('created:"2025-12-31 23:59"', "a"),
    ],
)  # fmt: skip
def test_a_query_finds_the_files_it_describes(names: Names, query: str, expected: str) -> None:
    assert names(query) == expected


@pytest.mark.rules("IF-3", "IF-4", "IF-14")
def test_a_query_is_one_more_condition_beside_the_others(stored: Lake, names: Names) -> None:
    assert names("report OR unicode", tags=("done",)) == "b"
    assert names("tags:in", without_tags=("done",)) == "a"
    assert names("tags:in OR tags:In", limit=1) == "c"
    assert names("") == "abcd"
    newest = stored.files(FileQuery())[0].id
    assert names(f"id:{newest}") == "d"
    assert names(f"id:[{newest - 1} TO {newest}]") == "cd"


@pytest.mark.rules("IF-3")
@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("a )", "at character 3: ')' cannot stand here"),
        ("tags:a AND", "at its end: something is missing"),
        ("(a", "at its end"),
        ('name:"a', "at character 6: '\"' cannot stand here"),
        ("created:>=2026-01-01T10:00:00+01:00", "at character 33: ':' cannot stand here"),
        ("tag:a", "at character 1: there is no field tag, there are name, tags, id, sizeBytes"),
        ("a AND url:x", "at character 7: there is no field url"),
        ("_exists_:url", "there is no field url"),
        ("tags:componentId:x", "at character 6: a colon inside a field: put the text into quotes"),
        ("name:report~", "at character 6: 'report~' is not offered (fuzzy)"),
        ('"a b"~3', "is not offered (proximity)"),
        ("a^2", "is not offered (boost)"),
        ("name:/a.*/", "is not offered (regex)"),
        ("a && b", "at character 3: write AND instead of &&"),
        ("a || b", "write OR instead of ||"),
        ("a AND !b", "at character 7: write NOT instead of !"),
        ("a OR +b", "at character 6: '+' has no meaning beside OR"),
        ("id:-5", "at character 4: an operator behind a colon"),
        ("sizeBytes:large", "at character 11: sizeBytes must be a whole number, not 'large'"),
        ("sizeBytes:1*", "sizeBytes takes no wildcards"),
        ("isPublic:maybe", "isPublic is true or false, not 'maybe'"),
        ("isPublic:t*", "isPublic takes no wildcards"),
        ("isPublic:>0", "isPublic takes no ranges"),
        (
            "created:2026-13-01",
            "created must be a time such as 2026-01-31, 2026-01-31T10:00 or now-1d, not '2026-13-01'",
        ),
        ("created:yesterday", "created must be a time"),
        ("created:now-999999y", "created must be a time"),
        ("name:[a TO b]", "name takes no ranges"),
        (">5", "a word without a field takes no ranges"),
    ],
)
def test_a_query_that_is_not_understood_is_refused_with_the_place(names: Names, query: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        names(query)
    assert str(error.value).startswith(f"The query of files {query!r} cannot be understood ")
    assert problem in str(error.value)


@pytest.mark.rules("IF-3")
@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("now", datetime(2026, 3, 31, 10, 20, 30, 5), timedelta(microseconds=1)),
        ("now/d", datetime(2026, 3, 31), timedelta(days=1)),
        ("now-1M", datetime(2026, 2, 28, 10, 20, 30, 5), timedelta(microseconds=1)),
        ("now-1d+2h/h", datetime(2026, 3, 30, 12), timedelta(hours=1)),
        ("now-1y/M", datetime(2025, 3, 1), timedelta(days=31)),
        ("2024-02", datetime(2024, 2, 1), timedelta(days=29)),
        ("2026-01-31T10", datetime(2026, 1, 31, 10), timedelta(hours=1)),
        ("2026-01-31T10:00:00-0530", datetime(2026, 1, 31, 15, 30), timedelta(seconds=1)),
        ("2026-01-31T10:00:00.25Z", datetime(2026, 1, 31, 10, 0, 0, 250_000), timedelta(microseconds=1)),
    ],
)
def test_a_time_means_all_that_it_does_not_tell_apart(text: str, start: datetime, length: timedelta) -> None:
    now = datetime(2026, 3, 31, 10, 20, 30, 5, UTC)
    assert time_span(text, now=now) == (start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length)


def test_reading_queries_writes_no_files_and_gives_no_warnings(tmp_path: Path) -> None:
    code = (
        "from datetime import UTC, datetime\n"
        "from docker_runner.storage.lake.file_query import query_condition\n"
        "print(query_condition('tags:a AND NOT name:*.zip', now=datetime.now(UTC)) != '')"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("True\n", "")
    assert list(tmp_path.iterdir()) == []
