"""Processor: leaves out the rows whose column has one of the given values."""

import logging
import sys
from pathlib import Path

from keboola.component import ComponentBase, UserException
from processor_tables import Change, copy_unchanged, read_tables, rewrite


def leave_out(position: int, values: frozenset[str]) -> Change:
    """The change that leaves out rows with one of the values at a position."""
    return lambda row: None if row[position] in values else row


class Component(ComponentBase):
    """Filters every table; files and manifests pass unchanged."""

    def run(self) -> None:
        """The action ``run``."""
        column, values = self._parameters()
        data = Path(self.data_folder_path)
        copy_unchanged(data)
        for table in read_tables(data / "in/tables"):
            change = leave_out(table.position(column), values)
            read, written = rewrite(table, data / "out/tables", columns=table.columns, change=change)
            logging.info("%s: %s of %s rows left out.", table.name, read - written, read)

    def _parameters(self) -> tuple[str, frozenset[str]]:
        parameters = self.configuration.parameters
        column, values = parameters.get("column"), parameters.get("values")
        if not isinstance(column, str) or not column:
            raise UserException(f"Parameter 'column' must be the name of a column, not {column!r}.")
        if not isinstance(values, list) or not values:
            raise UserException(f"Parameter 'values' must be a list with at least one value, not {values!r}.")
        for position, value in enumerate(values):
            if not isinstance(value, str):
                raise UserException(f"Parameter 'values[{position}]' must be a text, not {value!r}.")
        return column, frozenset(values)


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception:
        logging.exception("The processor failed.")
        sys.exit(2)
