"""Names of columns and tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_runner.errors import UserError
from docker_runner.storage.names import sanitize_column, sanitize_header, split_table_id


@pytest.mark.rules("OM-41", "OM-42")
@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("_~dlažební  %_kostky_~", "dlazebni__kostky"),
        ("test-vn-đá cuội", "test_vn_da_cuoi"),
        ("jp日本語", "jp"),
        ("    webalize spaces  ", "webalize_spaces"),
        ("123", "123"),
        ("Straße", "Strasse"),
        ("Łódź", "Lodz"),
        ("price (€)", "price"),
        ("from\u2013to", "from_to"),
        ("KeepsCase", "KeepsCase"),
        ("oid", "oid_"),
        ("ctid", "ctid_"),
        ("OID", "OID"),
        ("日本", ""),
        ("_timestamp", "_timestamp"),
        ("_TimeStamp", "_TimeStamp"),
    ],
)
def test_a_column_is_stored_under_its_clean_name(written: str, stored: str) -> None:
    assert sanitize_column(written) == stored


@pytest.mark.rules("OM-41")
@given(st.text(max_size=40))
def test_a_clean_name_stays_as_it_is(written: str) -> None:
    once = sanitize_column(written)
    assert sanitize_column(once) == once
    assert once.isascii()


@pytest.mark.rules("OM-40", "OM-44")
def test_changed_names_are_told() -> None:
    columns, warnings = sanitize_header(["id", "unit price"])
    assert columns == ("id", "unit_price")
    assert warnings == ("Column 'unit price' is stored as 'unit_price'.",)


@pytest.mark.rules("OM-43", "OM-44", "OM-72")
@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (["a", "A"], "column 'A' is there twice (as 'a' before)"),
        (["a b", "a-b"], "column 'a-b' is there twice (as 'a b' before)"),
        (["id", "_timestamp"], "column '_timestamp' is Storage's own"),
        (["id", ""], "column 2 ('') has nothing that a name could keep"),
        (["x" * 65], "is longer than 64 characters"),
    ],
)
def test_unusable_columns_are_refused_with_their_names(header: list[str], problem: str) -> None:
    with pytest.raises(UserError) as error:
        sanitize_header(header)
    assert problem in str(error.value)


@pytest.mark.rules("OM-44")
def test_a_name_of_64_characters_is_accepted() -> None:
    assert sanitize_header(["x" * 64])[0] == ("x" * 64,)


def test_a_table_id_is_split_into_bucket_and_name() -> None:
    assert split_table_id("in.c-main.orders_2024") == ("in.c-main", "orders_2024")


@pytest.mark.rules("OM-24", "OM-28")
@pytest.mark.parametrize(
    "table_id",
    ["orders", "in.orders", "in.c-main.a.b", "sys.c-main.a", "in.c-main.", "in..a", 'in.c-main."', "in.c-m/../x.a"],
)
def test_other_ids_are_refused(table_id: str) -> None:
    with pytest.raises(UserError, match="is not a table id"):
        split_table_id(table_id)


@pytest.mark.rules("OM-41", "OM-43", "OM-44")
@given(st.lists(st.text(max_size=70), min_size=1, max_size=4))
def test_any_header_is_refused_or_becomes_names_that_stay_as_they_are(header: list[str]) -> None:
    names = [sanitize_column(name).lower() for name in header]
    if len(set(names)) < len(names) or any(name in ("", "_timestamp") or len(name) > 64 for name in names):
        with pytest.raises(UserError, match="The columns cannot be used: "):
            sanitize_header(header)
        return
    columns, warnings = sanitize_header(header)
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,64}", column) for column in columns)
    assert len({column.lower() for column in columns}) == len(header)
    assert len(warnings) == sum(old != new for old, new in zip(header, columns, strict=True))
    assert sanitize_header(columns) == (columns, ())


@pytest.mark.rules("OM-41")
@given(st.text(st.sampled_from(list("abZ09_ -.éßđ日%")), max_size=12))
def test_runs_of_other_characters_become_one_underscore_and_ends_are_trimmed(written: str) -> None:
    clean = sanitize_column(written)
    assert clean == clean.strip("_")
    assert re.sub("_+", "", clean) == re.sub(
        "[^A-Za-z0-9]", "", written.replace("é", "e").replace("ß", "ss").replace("đ", "d")
    )
