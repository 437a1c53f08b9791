"""A component of files: selects them by tags, sees only the newest of each name, marks what it has read."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.workbench import Workbench, zipped

from docker_runner.errors import ComponentError

pytestmark = pytest.mark.engine

SYSTEM_TAGS = ["componentId: test.app-archive", "configurationId: main", "runId: run-1"]


def configuration(*files: dict[str, Any], output: list[dict[str, Any]] | None = None, **parameters: Any) -> Any:
    return {"parameters": parameters, "storage": {"input": {"files": list(files)}, "output": {"files": output or []}}}


@pytest.mark.rules("IF-1", "IF-2", "IF-25", "IF-28", "IF-33", "OF-1", "OF-2", "OF-3", "OF-6", "IM-59")
def test_files_are_chosen_by_tags_and_grouped_by_the_tags_that_people_gave_them(workbench: Workbench) -> None:
    component = workbench.register("app-archive")
    workbench.store("may.csv", "old", "invoice", "2026", "componentId: test.other")
    workbench.store("june.csv", "six", "2026", "invoice", "runId: 7")
    workbench.store("note.txt", "n", "note")
    workbench.store("draft.txt", "d", "note", "draft")
    # The package tells versions of a file apart by the second of their creation.
    time.sleep(1.1 - time.time() % 1)
    workbench.store("may.csv", "new", "invoice", "2026")
    notes = {"source": {"tags": [{"name": "note"}, {"name": "draft", "match": "exclude"}]}}
    listing = [{"source": "listing.json", "tags": ["listing"]}]
    workbench.configuration("main", configuration({"tags": ["invoice"]}, notes, output=listing), component=component)
    workbench.run("main", component=component)

    seen = workbench.json("listing.json")
    assert seen["groups"] == {"2026;invoice": ["june.csv", "may.csv"], "note": ["note.txt"]}
    assert seen["versions"] == {"may.csv": 2, "june.csv": 1, "note.txt": 1}
    assert seen["bytes"] == len("oldsixnnew")
    assert all(moment.endswith("+00:00") for moment in seen["created"])
    [archive] = workbench.files("archive", "archive-of-2026")
    assert archive.name == "2026-invoice.zip"
    assert zipped(workbench.content(archive)) == {"june.csv": "six", "may.csv": "new"}
    assert (archive.is_permanent, archive.is_public) == (True, False)
    assert set(archive.tags) == {"archive", "archive-of-2026", "archive-of-invoice", *SYSTEM_TAGS}
    [listed] = workbench.files("listing")
    assert (listed.is_permanent, set(listed.tags)) == (False, {"listing", *SYSTEM_TAGS})
    assert workbench.left_behind() == []


@pytest.mark.rules("IF-7", "IF-8", "IF-22", "IF-23", "IF-24", "IF-29", "IF-32")
def test_adaptive_files_are_read_once_and_marked_as_processed(workbench: Workbench) -> None:
    component = workbench.register("app-archive")
    first = workbench.store("a.csv", "1", "invoice")
    mapped = {"tags": ["invoice"], "changed_since": "adaptive", "processed_tags": ["booked"]}
    workbench.configuration("main", configuration(mapped, must_find=True), component=component)
    workbench.run("main", component=component)
    assert [file.id for file in workbench.files("booked")] == [first.id]
    state = workbench.state("main", component=component)["storage"]["input"]["files"]
    assert state == [{"tags": [{"name": "invoice"}], "lastImportId": str(first.id)}]

    second = workbench.store("b.csv", "2", "invoice")
    workbench.run("main", component=component)
    assert workbench.json("listing.json")["versions"] == {"b.csv": 1}
    assert {file.id for file in workbench.files("booked")} == {first.id, second.id}

    archives = len(workbench.files("archive"))
    with pytest.raises(ComponentError, match=r"^There is no file to archive\.$"):
        workbench.run("main", component=component)
    assert len(workbench.files("archive")) == archives
    state = workbench.state("main", component=component)["storage"]["input"]["files"]
    assert state == [{"tags": [{"name": "invoice"}], "lastImportId": str(second.id)}]
    assert workbench.left_behind() == []


@pytest.mark.rules("IF-3", "IF-14")
def test_a_full_text_query_selects_files(workbench: Workbench) -> None:
    component = workbench.register("app-archive")
    for name, *tags in (("may.csv", "invoice"), ("may.pdf", "invoice"), ("june.csv", "invoice", "draft")):
        workbench.store(name, name, *tags)
    mapped = {"query": "name:*.csv AND NOT tags:draft", "tags": ["invoice"]}
    workbench.configuration("main", configuration(mapped), component=component)
    workbench.run("main", component=component)
    assert workbench.json("listing.json")["groups"] == {"invoice": ["may.csv"]}


@pytest.mark.rules("IF-33")
def test_the_package_can_narrow_the_files_down_further(workbench: Workbench) -> None:
    component = workbench.register("app-archive")
    workbench.store("a.csv", "1", "invoice", "paid")
    workbench.store("b.csv", "2", "invoice")
    workbench.configuration("main", configuration({"tags": ["invoice"]}, tags=["paid"]), component=component)
    workbench.run("main", component=component)
    [archive] = workbench.files("archive")
    assert zipped(workbench.content(archive)) == {"a.csv": "1"}
