"""A writer with actions for its form, which reports what it could not write even when it fails."""

import csv
import logging
import sys
from pathlib import Path

from keboola.component.base import ComponentBase, sync_action
from keboola.component.exceptions import UserException
from keboola.component.sync_actions import MessageType, SelectElement, ValidationResult

KEY_PASSWORD = "#password"
KEY_BOOKS = "books"
KEY_STOP = "stop"
KEY_TALKATIVE = "talkative"

REFUSED_COLUMNS = ["account", "amount", "reason"]


class Component(ComponentBase):
    """Writes amounts into a ledger that does not take everything."""

    def __init__(self):
        super().__init__()
        if self.configuration.parameters.get(KEY_TALKATIVE):
            logging.info("Opening the ledger with %s.", self.configuration.parameters[KEY_PASSWORD])

    def run(self):
        self.connect()
        tables = self.get_input_tables_definitions()
        if not tables:
            raise UserException("Nothing to write: the input mapping has no table.")
        written, refused = self.write_amounts(tables)
        self.write_table("written.csv", ["account", "amount"], written)
        self.write_table("refused.csv", REFUSED_COLUMNS, refused, write_always=True)
        self.write_state_file({"written": len(written)})
        if self.configuration.parameters.get(KEY_STOP):
            raise RuntimeError("The ledger burst into flames.")
        if refused:
            raise UserException(f"{len(refused)} amounts were refused; they are in the table refused.")

    @sync_action("testConnection")
    def test_connection(self):
        self.connect()
        print("Whatever a library prints must not get into the answer.")
        return ValidationResult("The ledger is open.", MessageType.SUCCESS)

    @sync_action("listBooks")
    def list_books(self):
        self.connect()
        return [SelectElement(value=book, label=book.title()) for book in self.configuration.parameters[KEY_BOOKS]]

    @sync_action("reset")
    def reset(self):
        """An action without an answer of its own."""
        self.connect()

    def connect(self):
        if self.configuration.parameters.get(KEY_PASSWORD) != "open sesame":
            raise UserException("The ledger does not know this password.")

    def write_amounts(self, tables):
        written, refused = [], []
        for table in tables:
            with Path(table.full_path).open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    if row["amount"].lstrip("-").isdecimal():
                        written.append([row["account"], row["amount"]])
                    else:
                        refused.append([row["account"], row["amount"], "not a number"])
        return written, refused

    def write_table(self, name, columns, rows, *, write_always=False):
        table = self.create_out_table_definition(
            name, schema=columns, primary_key=["account"], incremental=True, has_header=True, write_always=write_always
        )
        with Path(table.full_path).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, dialect="kbc").writerows([columns, *rows])
        self.write_manifest(table)


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception as error:
        logging.exception(error)
        sys.exit(2)
