"""An application without the package: its configuration, manifests and state are YAML."""

import csv
import os
import sys
from pathlib import Path

import yaml

data = Path(os.environ["KBC_DATADIR"])


def read(path):
    return yaml.safe_load((data / path).read_text(encoding="utf-8"))


def write(path, content):
    (data / path).write_text(yaml.safe_dump(content), encoding="utf-8")


config = read("config.yml")
factor = config["parameters"].get("factor")
if not isinstance(factor, int):
    sys.exit("The parameter factor must be a whole number.")  # Prints to stderr and ends with 1.

state = read("in/state.yml") or {}
for mapped in config["storage"]["input"]["tables"]:
    name = mapped["destination"]
    manifest = read(f"in/tables/{name}.manifest")
    with (data / "in/tables" / name).open(newline="", encoding="utf-8") as file:
        rows = [[row["id"], int(row["amount"]) * factor] for row in csv.DictReader(file)]
    with (data / "out/tables" / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    write(
        f"out/tables/{name}.manifest",
        {
            "columns": ["id", "amount"],
            "primary_key": manifest["primary_key"],
            "delimiter": "\t",
            "incremental": True,
            "metadata": [{"key": "factor", "value": factor}],
        },
    )
for file in sorted((data / "in/files").glob("*")):
    if not file.name.endswith(".manifest"):
        tags = read(f"in/files/{file.name}.manifest")["tags"]
        (data / "out/files" / "copy.txt").write_bytes(file.read_bytes())
        write("out/files/copy.txt.manifest", {"tags": ["copy", *[tag for tag in tags if ":" not in tag]]})
write("out/state.yml", {"runs": state.get("runs", 0) + 1, "#seen": config["parameters"]["#word"]})
write("out/usage.yml", [{"metric": "tables", "value": len(config["storage"]["input"]["tables"])}])
