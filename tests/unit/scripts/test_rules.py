"""The table of rules: what counts as tested, missing, or claimed by mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rules import CONTRACT, NOT_APPLICABLE, Claims, Contract, Coverage, Status
from tests.builders import write

REPOSITORY = Path(__file__).resolve().parents[3]

TEXT = f"""# Contract
| rule | what holds here |
| --- | --- |
| OM-20b | one \\| two |
| OM-3 | three |
| OM-20a | four |
| CF-1 | five |

{NOT_APPLICABLE}
| rule | why |
| --- | --- |
| OM-4 | older |
"""


def coverage(tmp_path: Path, text: str = TEXT, **tests: str) -> Coverage:
    claims = Claims({rule.replace("_", "-"): [test] for rule, test in tests.items()})
    return Coverage(Contract.read(write(tmp_path / "contract.md", text)), claims)


def test_rules_are_listed_by_section_and_number_with_what_the_contract_says(tmp_path: Path) -> None:
    contract = coverage(tmp_path).contract
    assert contract.rules == ["OM-3", "OM-4", "OM-20a", "OM-20b", "CF-1"]
    assert contract.applicable["OM-20b"] == "one | two"
    assert contract.not_applicable == {"OM-4": "older"}


def test_a_rule_is_tested_or_not_applicable_or_missing(tmp_path: Path) -> None:
    found = coverage(tmp_path, OM_3="t", LC_1="t")
    assert found.rules(Status.TESTED) == ["OM-3"]
    assert found.rules(Status.NOT_APPLICABLE) == ["OM-4"]
    assert found.rules(Status.MISSING) == ["OM-20a", "OM-20b", "CF-1"]
    assert found.mistakes() == []


def test_claims_of_unknown_and_of_inapplicable_rules_and_repeated_rules_are_mistakes(tmp_path: Path) -> None:
    found = coverage(tmp_path, TEXT + "| CF-1 | again |\n", OM_5="some test", OM_4="another test")
    twice, unknown, both = found.mistakes()
    assert twice.startswith("CF-1 is listed twice")
    assert unknown.startswith("OM-5 is claimed by some test, but")
    assert both.startswith("OM-4 is not applicable")


def test_tests_that_cannot_be_collected_are_mistakes(tmp_path: Path) -> None:
    file = write(tmp_path / "test_wrong.py", "import nothing_like_this\n")
    code = f"from rules import Claims; print(Claims.collect({str(file)!r}).errors)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY / "scripts", capture_output=True, text=True, check=True
    )
    assert "nothing_like_this" in done.stdout


def test_the_cases_of_a_parametrized_test_are_one_claim(tmp_path: Path) -> None:
    file = write(
        tmp_path / "test_cases.py",
        "import pytest\n\n@pytest.mark.rules('OM-1', 'OM-2')\n@pytest.mark.parametrize('a', [1, 2])\n"
        "def test_a(a): pass\n",
    )
    code = f"from rules import Claims; print({{k: len(v) for k, v in Claims.collect({str(file)!r}).tests.items()}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY / "scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'OM-1': 1, 'OM-2': 1}\n"


@pytest.mark.parametrize(
    "section",
    [
        *("CF", "RW", "VR", "SC", "ST", "DF", "EV", "IM", "IF", "OM", "OF", "US", "AR", "PR", "CT", "IG", "LG"),
        *("AU", "EN", "API", "BR", "LC", "CD", "TV"),
    ],
)
def test_the_contract_has_every_section_and_every_line_says_something(section: str) -> None:
    contract = Contract.read(CONTRACT)
    assert not contract.repeated
    rules = [rule for rule in contract.rules if rule.startswith(f"{section}-")]
    assert rules
    assert all(len({**contract.applicable, **contract.not_applicable}[rule]) > 10 for rule in rules)


def test_every_rule_of_the_contract_is_proved_by_a_test_or_has_no_meaning_here() -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "rules.py"), "--missing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
