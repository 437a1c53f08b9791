"""Names of columns and tables."""

from __future__ import annotations

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
