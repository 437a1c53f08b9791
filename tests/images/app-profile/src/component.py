"""An application that works with any table: it profiles every column by the type that the manifest gives it."""

import csv
import json
import logging
import sys
from pathlib import Path

from keboola.component.base import ComponentBase
from keboola.component.exceptions import UserException

COLUMNS = ["table", "column", "type", "length", "nullable", "key", "description", "values", "empty"]


class Component(ComponentBase):
    """Writes one row for each column of each input table."""

    def run(self):
        tables = self.get_input_tables_definitions()
        if not tables:
            raise UserException("There is no table to profile.")
        profile = self.create_out_table_definition(
            "profile.csv", schema=COLUMNS, primary_key=["table", "column"], has_header=True
        )
        with Path(profile.full_path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, dialect="kbc")
            writer.writeheader()
            for table in tables:
                writer.writerows(self.columns_of(table))
        self.write_manifest(profile)
        self.write_tables(tables)

    @staticmethod
    def columns_of(table):
        with Path(table.full_path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for name, column in table.schema.items():
            base = (column.data_types or {}).get("base")
            values = [row[name] for row in rows if name in row]
            yield {
                "table": table.id,
                "column": name,
                "type": base.dtype if base else "",
                "length": (base.length if base else None) or "",
                "nullable": column.nullable,
                "key": name in table.primary_key,
                "description": column.description or "",
                "values": len(values),
                "empty": values.count(""),
            }

    def write_tables(self, tables):
        """What the manifests say of the tables themselves."""
        facts = {
            table.id: {
                "name": table.name,
                "uri": table.uri,
                "created": table.created.isoformat(),
                "last_import_date": table.last_import_date,
                "metadata": table.table_metadata.table_metadata,
                "columns": table.column_names,
            }
            for table in tables
        }
        Path(self.files_out_path, "tables.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception as error:
        logging.exception(error)
        sys.exit(2)
