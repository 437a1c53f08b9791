"""A component that shows its secrets wherever it can: nobody may find them anywhere behind it."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import RunnerError
from docker_runner.interface.result import FAILURES

pytestmark = pytest.mark.engine

SECRET = 'Zq7"p&w/d\u00e9Xk9 Vt'
OF_STATE = "state-Kr4-secret"
OF_OTHER_ROW = "row-Jn8-secret"
TOKEN = "4711-42-tokenTOKENtoken"
ALL = (SECRET, OF_STATE, OF_OTHER_ROW, TOKEN)

FORMS = """
import base64, json, os, sys, time, urllib.parse
p = c['parameters']
state = json.load(open('/data/in/state.json'))
def forms(secret):
    raw = secret.encode()
    yield secret
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (encode(b'x' * n + raw + b'y').decode() for n in range(3))
    yield base64.b64encode(raw).decode()
    yield json.dumps({'k': secret}); yield json.dumps({'k': secret}, ensure_ascii=False)
    yield json.dumps(secret)[1:-1]; yield json.dumps(secret).replace('/', '\\\\/')
    yield urllib.parse.quote(secret); yield urllib.parse.quote(secret, safe=''); yield urllib.parse.quote_plus(secret)
others = [text[::-1] for text in p.get('others', [])]
secrets = [p['#secret'], *others, *[v for k, v in state.items() if k.startswith('#')]]
every = [form for secret in secrets for form in forms(secret)]
def spread(stream, text):
    for character in text: stream.write(character); stream.flush()
"""
SHOWS = """
for form in every: print('out', form); print('err', form, file=sys.stderr)
spread(sys.stdout, p['#secret'] + '\\n'); spread(sys.stderr, p['#secret'] + '\\n')
sys.stdout.flush(); sys.stdout.buffer.write(p['#secret'].encode()[:12]); sys.stdout.buffer.flush(); time.sleep(0.3)
sys.stdout.buffer.write(p['#secret'].encode()[12:] + b'\\n')
"""


def encoded(secret: str) -> Iterator[str]:
    """What would betray a secret: as it is, and what other programs make of it."""
    raw = secret.encode()
    yield secret
    for n in range(3):
        # Of base64 in a longer text, what does not depend on its neighbours.
        text = base64.b64encode(b"\0" * n + raw).decode()[n and n + 1 :].rstrip("=")
        yield text[:-2]
        yield text[:-2].translate(str.maketrans("+/", "-_"))
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)


def found_in(text: str) -> list[str]:
    return [form for secret in ALL for form in encoded(secret) if form in text]


class Audit:
    """A run, and everything that is left of it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        installation.variables |= {"DOCKER_RUNNER_KBC_TOKEN": TOKEN, "DOCKER_RUNNER_KBC_URL": "https://x"}
        installation.command("encrypt", "--component", SCRIPT, "--value", input="x")

    def run(self, script: str, **params: Any) -> str:
        """Run a script that knows every secret; give everything that anybody is told, and all files that are left."""
        said: list[Any] = []
        installation = self.installation
        state = {"component": {"#s": installation.cipher(OF_STATE)}, "storage": {"input": {"tables": [], "files": []}}}
        installation.store_state("main", state, row="one")
        others = [text[::-1] for text in (OF_OTHER_ROW, TOKEN)]
        parameters = {"script": FORMS + script, "#secret": installation.cipher(SECRET), "others": others}
        rows = {
            "one": {"parameters": parameters},
            "two": {"parameters": {"script": "print(1)", "#secret": installation.cipher(OF_OTHER_ROW)}},
        }
        installation.configuration("main", {}, rows=rows)
        try:
            said.append(installation.run("main", **params).manifests)
        except RunnerError as error:
            said += [str(error), repr(error), vars(error), repr(getattr(error, "container", None))]
            if isinstance(error, FAILURES) and error.container:
                said += [error.container.stdout_tail, error.container.stderr_tail]
        except OSError as error:
            said.append(str(error))
        return "\n".join(
            ["\n".join(installation.lines), json.dumps(said, default=str, ensure_ascii=False), *self.left()]
        )

    def left(self) -> Iterator[str]:
        """The text of every file that is left in the installation, but for what the test itself wrote."""
        for path in sorted(self.installation.folder.rglob("*")):
            if "project" in path.relative_to(self.installation.folder).parts or not path.is_file():
                continue
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from (archive.read(name).decode(errors="replace") for name in archive.namelist())
            yield path.read_bytes().decode(errors="replace")


@pytest.fixture
def audit(installation: Installation) -> Audit:
    return Audit(installation)


@pytest.mark.rules("LG-20", "LG-21", "LG-22", "LG-23", "D12", "TV-8")
@pytest.mark.parametrize("end", ["", "sys.exit(1)", "sys.exit(2)", "os.kill(os.getpid(), 9)"])
def test_the_outputs_show_no_secret_in_any_form_however_the_component_ends(audit: Audit, end: str) -> None:
    told = audit.run(SHOWS + end)
    assert "out [hidden]" in told
    assert "err [hidden]" in told
    assert found_in(told) == []


@pytest.mark.rules("LG-22")
def test_a_secret_at_the_border_of_a_long_line_and_of_what_is_kept_is_not_shown_in_part(audit: Audit) -> None:
    told = audit.run("print('x' * 59_990 + p['#secret']); print('y' * 1_000_000 + p['#secret'] * 3); sys.exit(1)")
    assert found_in(told) == []
    assert SECRET[:6] not in told


# Places where a component leaves texts that somebody is told of, or that an error repeats.
PLACES = {
    "state": "json.dump({'#new': p['#secret']}, open('/data/out/state.json', 'w'))",
    "state that is wrong": "open('/data/out/state.json', 'w').write('{' + p['#secret'])",
    "state that is a list": "json.dump(every, open('/data/out/state.json', 'w'))",
    "usage": "json.dump([{'metric': e, 'value': 1} for e in every], open('/data/out/usage.json', 'w'))",
    "usage that is wrong": "json.dump([{'metric': 1, 'value': every}], open('/data/out/usage.json', 'w'))",
    "usage with other keys": "json.dump([{e: e for e in every}], open('/data/out/usage.json', 'w'))",
    "variables": "json.dump({'variables': {e: e for e in every}}, open('/data/out/result.json', 'w'))",
    "variables that are wrong": "json.dump({'variables': every}, open('/data/out/result.json', 'w'))",
    "name of a table": "open('/data/out/tables/' + others[0] + '.csv', 'w').write('a\\n1\\n')",
    "manifest of a table": """
open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')
json.dump({'destination': every[0]}, open('/data/out/tables/t.csv.manifest', 'w'))""",
    "manifest with a wrong value": """
open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')
json.dump({'destination': 'out.c-m.t', 'incremental': every[0]}, open('/data/out/tables/t.csv.manifest', 'w'))""",
    "manifest with a wrong key": """
open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')
json.dump({'destination': 'out.c-m.t', every[0]: 1}, open('/data/out/tables/t.csv.manifest', 'w'))""",
    "primary key": """
open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')
json.dump({'destination': 'out.c-m.t', 'primary_key': [every[0]]}, open('/data/out/tables/t.csv.manifest', 'w'))""",
    "row of a table": """
open('/data/out/tables/t.csv', 'w').write('a,b\\n1,2,' + json.dumps(every[0]) + '\\n')
json.dump({'destination': 'out.c-m.t'}, open('/data/out/tables/t.csv.manifest', 'w'))""",
    "link": "os.symlink('/' + p['#secret'].replace('/', ''), '/data/out/tables/' + others[0] + '.csv')",
    "manifest of a file": """
open('/data/out/files/f', 'w').write('x')
json.dump({'tags': 1, every[0]: every[0]}, open('/data/out/files/f.manifest', 'w'))""",
}


@pytest.mark.rules("LG-22", "US-2")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("end", ["", pytest.param("\nsys.exit(1)", marks=pytest.mark.thorough)])
def test_no_message_and_no_result_repeats_a_secret(audit: Audit, place: str, end: str) -> None:
    assert found_in(audit.run(PLACES[place] + end)) == []


@pytest.mark.rules("LG-22", "D16")
def test_snapshots_of_debug_mode_hold_no_secret(audit: Audit) -> None:
    told = audit.run(SHOWS + PLACES["state"], mode="debug")
    assert "stage_output.zip" in told
    assert found_in(told) == []


@pytest.mark.rules("LG-22")
def test_the_command_line_shows_no_secret(audit: Audit) -> None:
    audit.run(SHOWS)
    done = audit.installation.command("run", f"{SCRIPT}/main")
    assert "[hidden]" in done.stderr
    assert found_in(done.stdout + done.stderr) == []
    checked = audit.installation.command("validate")
    assert found_in(checked.stdout + checked.stderr) == []


@pytest.mark.rules("CT-14", "CT-15")
def test_a_size_that_is_not_known_is_said_to(installation: Installation) -> None:
    installation.script("sizes", "print(1)", runtime={"backend": {"type": "huge"}})
    installation.run("sizes")
    assert "There is no size 'huge': it runs as small with one CPU. Sizes: xsmall, small, medium, large." in (
        installation.lines
    )


def test_what_betrays_a_secret_is_found_in_what_shows_it() -> None:
    assert found_in(base64.b64encode(b"user:" + SECRET.encode()).decode())
    assert found_in(json.dumps({"x": SECRET}))
    assert found_in(quote_plus(SECRET))
