"""An incremental extractor: pages through an API, writes tables that it decides on at run time, remembers its place."""

import csv
import gzip
import logging
import sys
from collections import OrderedDict
from pathlib import Path

from client import Client, WrongKeyError
from keboola.component.base import ComponentBase
from keboola.component.dao import BaseType, ColumnDefinition, TableMetadata
from keboola.component.exceptions import UserException

KEY_API_KEY = "#api_key"
KEY_STATIONS = "stations"
KEY_PAGES = "pages_per_run"
KEY_FORGET = "forget_stations"

STATE_CURSOR = "cursor"
STATE_TOKEN = "#token"

READING_COLUMNS = ("station", "moment", "value")


class Component(ComponentBase):
    """Loads stations completely and the readings of each quantity from where the last run ended."""

    def __init__(self):
        super().__init__(required_parameters=[KEY_API_KEY, KEY_STATIONS])

    def run(self):
        parameters = self.configuration.parameters
        state = self.get_state_file()
        try:
            client = Client(parameters[KEY_API_KEY], token=state.get(STATE_TOKEN))
        except WrongKeyError as error:
            raise UserException(f"The API refuses the key: {error}") from error

        self.write_stations(client.stations(parameters[KEY_STATIONS]))
        cursor = self.write_readings(client, state.get(STATE_CURSOR, 0))
        self.write_state_file({STATE_CURSOR: cursor, STATE_TOKEN: client.token})

    def write_stations(self, stations):
        """A complete table whose schema lies in a file, as many older components have it."""
        table = self.create_out_table_definition_from_schema(self.get_table_schema_by_name("stations"))
        with Path(table.full_path).open("w", encoding="utf-8", newline="") as file:
            # Columns in the manifest: the file has no header.
            csv.writer(file, dialect="kbc", quoting=csv.QUOTE_ALL).writerows(stations)
        self.write_manifest(table)

    def write_readings(self, client, cursor):
        """One table for each quantity that occurs; one compressed slice for each page."""
        tables = {}
        for _ in range(self.configuration.parameters.get(KEY_PAGES, 2)):
            page = client.readings(self.configuration.parameters[KEY_STATIONS], after=cursor)
            for quantity, rows in page.by_quantity.items():
                if quantity not in tables:
                    tables[quantity] = self.readings_table(quantity)
                self.write_slice(tables[quantity], f"page{cursor:06d}.csv.gz", rows)
            cursor = page.next
        self.write_manifests(list(tables.values()))
        logging.info("Read up to %s with the token %s.", cursor, client.token)
        return cursor

    def readings_table(self, quantity):
        metadata = TableMetadata()
        metadata.add_table_description(f"Readings of {quantity}.")
        metadata.add_table_metadata("quantity", quantity)
        forgotten = self.configuration.parameters.get(KEY_FORGET)
        return self.create_out_table_definition(
            f"readings_{quantity}",
            is_sliced=True,
            incremental=True,
            primary_key=["station", "moment"],
            schema=OrderedDict(
                station=ColumnDefinition(nullable=False),
                moment=ColumnDefinition(data_types=BaseType.integer(), description="Seconds since the beginning."),
                value=ColumnDefinition(data_types=BaseType.numeric(length="10,2")),
            ),
            table_metadata=metadata,
            delete_where={"column": "station", "values": forgotten, "operator": "eq"} if forgotten else None,
        )

    @staticmethod
    def write_slice(table, name, rows):
        folder = Path(table.full_path)
        folder.mkdir(exist_ok=True)
        with gzip.open(folder / name, "wt", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, READING_COLUMNS, dialect="kbc", quoting=csv.QUOTE_ALL).writerows(rows)


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception as error:
        logging.exception(error)
        sys.exit(2)
