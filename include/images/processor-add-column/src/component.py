"""Processor: adds one column with the same text in every row."""

import logging
import os
import sys
from pathlib import Path

from keboola.component import ComponentBase, UserException
from processor_tables import Table, copy_unchanged, read_tables, rewrite, write_manifest

# Facts about the run that a row may carry, and the variables in which every component gets them.
FACTS = {
    "run_id": "KBC_RUNID",
    "project_id": "KBC_PROJECTID",
    "branch_id": "KBC_BRANCHID",
    "config_id": "KBC_CONFIGID",
    "config_row_id": "KBC_CONFIGROWID",
}


class Component(ComponentBase):
    """Adds the column at the end of every table and to its manifest; files pass unchanged."""

    def run(self) -> None:
        """The action ``run``."""
        column, value = self._parameters()
        data = Path(self.data_folder_path)
        copy_unchanged(data)
        for table in read_tables(data / "in/tables"):
            if column in table.columns:
                raise UserException(f"Parameter 'column': table {table.name} has a column {column!r} already.")
            _, rows = rewrite(
                table, data / "out/tables", columns=[*table.columns, column], change=lambda row: [*row, value]
            )
            if table.manifest:
                write_manifest(table, data / "out/tables", _with_column(table, column))
            logging.info("%s: column %s added to %s rows.", table.name, column, rows)

    def _parameters(self) -> tuple[str, str]:
        parameters = self.configuration.parameters
        column, fact = parameters.get("column"), parameters.get("value_from")
        if not isinstance(column, str) or not column:
            raise UserException(f"Parameter 'column' must be the name of the new column, not {column!r}.")
        if ("value" in parameters) == ("value_from" in parameters):
            raise UserException("Give either the parameter 'value' (a text) or 'value_from', not both and not neither.")
        if "value" in parameters:
            if not isinstance(parameters["value"], str):
                raise UserException(f"Parameter 'value' must be a text, not {parameters['value']!r}.")
            return column, parameters["value"]
        if fact not in FACTS:
            raise UserException(f"Parameter 'value_from' must be one of {', '.join(FACTS)}, not {fact!r}.")
        return column, os.environ.get(FACTS[fact], "")


def _with_column(table: Table, column: str) -> dict:
    manifest = dict(table.manifest)
    if manifest.get("columns"):
        manifest["columns"] = [*manifest["columns"], column]
    if manifest.get("schema"):
        manifest["schema"] = [*manifest["schema"], {"name": column}]
    return manifest


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception:
        logging.exception("The processor failed.")
        sys.exit(2)
