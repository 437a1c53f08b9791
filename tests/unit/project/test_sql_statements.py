"""SQL code as a list of statements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_runner.project.sql_statements import statements


@pytest.mark.parametrize(
    ("code", "split"),
    [
        ("", []),
        (" \n;;\n ; ", []),
        ("select 1", ["select 1"]),
        ("select 1;select 2 ;\n\n select 3", ["select 1;", "select 2 ;", "select 3"]),
        ("a; -- b;\nc;", ["a;", "-- b;\nc;"]),
        ("a; # b;\nc; // d;\ne", ["a;", "# b;\nc;", "// d;\ne"]),
        ("/* a; */ b; c /* d", ["/* a; */ b;", "c /* d"]),
        ("select 'it''s; \\'; fine'; b", ["select 'it''s; \\'; fine';", "b"]),
        ('select "a;b"; c', ['select "a;b";', "c"]),
        ("begin $$ a; b; $$; c", ["begin $$ a; b; $$;", "c"]),
        ("a - b / c; d", ["a - b / c;", "d"]),
        ("a; -- the end", ["a;", "-- the end"]),
    ],
)
def test_statements_end_with_a_semicolon_that_stands_in_no_text_or_comment(code: str, split: list[str]) -> None:
    assert statements(code) == split


STATEMENT = st.lists(
    st.sampled_from(["select", "'a;b'", '"c;d"', "$$e;$$", "/*;*/", "1", "-- x;\n", "\n"]), min_size=1, max_size=6
).map(lambda words: " ".join(["do", *words, "end;"]))


@given(st.lists(STATEMENT, max_size=6))
def test_joining_and_splitting_statements_gives_the_same_ones(written: list[str]) -> None:
    assert statements("\n\n".join(written)) == written
