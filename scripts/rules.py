"""Shows which tests prove each rule of the contract, and which rules nothing proves.

Every rule of docs/contract.md must be claimed by a test's marker ``rules``, or be listed there as not applicable.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
CONTRACT = REPOSITORY / "docs" / "contract.md"
NOT_APPLICABLE = "## Not applicable here"

_ROW = re.compile(r"\| ([A-Z]+-\d+[a-z]?) \| (.+) \|")
_WIDTH_OF_A_PIPE = 200


class Status(StrEnum):
    """How a rule stands."""

    TESTED = "tested"
    NOT_APPLICABLE = "not applicable"
    MISSING = "MISSING"


@dataclass(frozen=True)
class Contract:
    """The rules as the contract lists them: ids with what it says of each."""

    applicable: Mapping[str, str]
    not_applicable: Mapping[str, str]
    repeated: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: Path = CONTRACT) -> Contract:
        """Read the tables of the contract.

        Args:
            file: a Markdown file; a row is ``| id | text |``.
        """
        lists: tuple[dict[str, str], dict[str, str]] = ({}, {})
        repeated, which = [], 0
        for line in file.read_text(encoding="utf-8").splitlines():
            which = 1 if line == NOT_APPLICABLE else which
            row = _ROW.fullmatch(line)
            if row and (row[1] in lists[0] or row[1] in lists[1]):
                repeated.append(row[1])
            elif row:
                lists[which][row[1]] = row[2].replace("\\|", "|")
        return cls(*lists, repeated=tuple(repeated))

    @property
    def rules(self) -> list[str]:
        """Every id, section by section in the contract's order, the numbers of a section in theirs."""
        sections = {_section(rule): None for rule in (*self.applicable, *self.not_applicable)}
        order = {section: position for position, section in enumerate(sections)}
        return sorted((*self.applicable, *self.not_applicable), key=lambda rule: (order[_section(rule)], _number(rule)))

    def knows_section_of(self, rule: str) -> bool:
        """Whether the contract is where such a rule would have to be listed."""
        return _section(rule) in {_section(known) for known in (*self.applicable, *self.not_applicable)}


@dataclass(eq=False)
class Claims:
    """A pytest plugin that collects which tests claim which rules; nothing is run."""

    tests: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what cannot be collected: its claims would be missing without a word."""
        if report.failed:
            self.errors.append(f"{report.nodeid} cannot be collected:\n{report.longreprtext}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take the markers of every test; the cases of a parametrized test are one."""
        for item in items:
            test = item.nodeid.partition("[")[0]
            for marker in item.iter_markers("rules"):
                for rule in marker.args:
                    tests = self.tests.setdefault(str(rule), [])
                    if test not in tests:
                        tests.append(test)

    @classmethod
    def collect(cls, *paths: str) -> Claims:
        """Collect the claims of all tests below the given paths; the whole suite by default."""
        claims = cls()
        options = ["--collect-only", "-qq", "-p", "no:cacheprovider", f"--rootdir={REPOSITORY}"]
        with redirect_stdout(io.StringIO()) as printed:
            code = pytest.main([*options, *(paths or (str(REPOSITORY / "tests"),))], plugins=[claims])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and not claims.errors:
            claims.errors.append(f"pytest ended with {code!r}:\n{printed.getvalue()}")
        return claims


@dataclass(frozen=True)
class Coverage:
    """The contract beside the claims of the tests."""

    contract: Contract
    claims: Claims

    def status(self, rule: str) -> Status:
        """How a rule of the contract stands."""
        if rule in self.contract.not_applicable:
            return Status.NOT_APPLICABLE
        return Status.TESTED if rule in self.claims.tests else Status.MISSING

    def rules(self, status: Status) -> list[str]:
        """The rules with a status."""
        return [rule for rule in self.contract.rules if self.status(rule) is status]

    def mistakes(self) -> list[str]:
        """What is wrong with contract or claims, beside rules that are missing."""
        contract, tests = self.contract, self.claims.tests
        twice = [f"{rule} is listed twice in {CONTRACT.name}." for rule in contract.repeated]
        unknown = [
            f"{rule} is claimed by {', '.join(names)}, but {CONTRACT.name} does not list it."
            for rule, names in sorted(tests.items())
            if contract.knows_section_of(rule) and rule not in (*contract.applicable, *contract.not_applicable)
        ]
        both = [
            f"{rule} is not applicable according to {CONTRACT.name}, but claimed by {', '.join(tests[rule])}."
            for rule in contract.not_applicable
            if rule in tests
        ]
        return [*self.claims.errors, *twice, *unknown, *both]


def main(arguments: list[str] | None = None) -> int:
    """Do what the module says; return 1 when a rule is missing or a claim is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="store_true", help="show only what is missing or wrong")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    coverage = Coverage(Contract.read(), Claims.collect())
    _show(coverage, console, only_missing=options.missing)
    mistakes, missing = coverage.mistakes(), coverage.rules(Status.MISSING)
    for mistake in mistakes:
        console.print(mistake, style="red", markup=False, soft_wrap=True)
    counts = ", ".join(f"{len(coverage.rules(status))} {status}" for status in Status)
    console.print(f"{len(coverage.contract.rules)} rules: {counts}; {len(mistakes)} mistakes.", markup=False)
    return 1 if missing or mistakes else 0


def _show(coverage: Coverage, console: Console, *, only_missing: bool) -> None:
    rules = coverage.rules(Status.MISSING) if only_missing else coverage.contract.rules
    if not rules:
        return
    table = Table("rule", "status", "tests", "what the contract says" if only_missing else "names", box=SIMPLE_HEAD)
    styles = {Status.TESTED: "green", Status.NOT_APPLICABLE: "dim", Status.MISSING: "bold red"}
    for rule in rules:
        status, tests = coverage.status(rule), coverage.claims.tests.get(rule, [])
        said = {**coverage.contract.applicable, **coverage.contract.not_applicable}[rule]
        names = "\n".join(_short(test) for test in tests) or said
        table.add_row(rule, f"[{styles[status]}]{status}[/]", str(len(tests)), escape(names))
    console.print(table)


def _short(test: str) -> str:
    """``tests/unit/project/test_rows.py::test_order`` -> ``rows: order``."""
    file, _, name = test.partition("::")
    return f"{Path(file).stem.removeprefix('test_')}: {name.removeprefix('test_')}"


def _section(rule: str) -> str:
    return rule.partition("-")[0]


def _number(rule: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", rule)
    return int(digits), rule


if __name__ == "__main__":
    sys.exit(main())
