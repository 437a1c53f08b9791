"""Daily delays: how punctual was each airline, each day, at each airport?"""

import csv
import logging
import sys
from pathlib import Path

from delays import OUTPUT_COLUMNS, PRIMARY_KEY, add_up, as_rows, read_flights
from keboola.component import ComponentBase, UserException
from keboola.component.base import sync_action
from keboola.component.sync_actions import MessageType, ValidationResult
from parameters import Parameters

OUTPUT_TABLE = "daily_delays.csv"


class Component(ComponentBase):
    """Reads one table of flights, writes one table of delays, remembers how far it has seen."""

    def run(self) -> None:
        """The action ``run``."""
        parameters = Parameters.from_configuration(self.configuration.parameters)
        state = self.get_state_file()
        flights_file = self._flights_file()

        with flights_file.open(encoding="utf-8", newline="") as file:
            sums = add_up(read_flights(file), parameters.delayed_from_minutes)
        flights = sum(delays.flights for delays in sums.values())
        logging.info("%s flights of %s days read from %s.", flights, len({key[0] for key in sums}), flights_file.name)

        self._write(sums)
        last_days = [key[0] for key in sums] + [state.get("last_day", "")]
        self.write_state_file({"runs": state.get("runs", 0) + 1, "last_day": max(last_days)})
        logging.info("%s rows written to %s.", len(sums), OUTPUT_TABLE)

    @sync_action("validate")
    def validate(self) -> ValidationResult:
        """The action ``validate``: are the parameters right?"""
        parameters = Parameters.from_configuration(self.configuration.parameters)
        message = f"Departures count as delayed from {parameters.delayed_from_minutes} minutes on."
        return ValidationResult(message, MessageType.SUCCESS)

    def _flights_file(self) -> Path:
        tables = self.get_input_tables_definitions()
        if len(tables) != 1:
            raise UserException(f"The input mapping must have exactly one table, the flights; it has {len(tables)}.")
        return Path(tables[0].full_path)

    def _write(self, sums) -> None:
        table = self.create_out_table_definition(
            OUTPUT_TABLE,
            schema=list(OUTPUT_COLUMNS),
            primary_key=list(PRIMARY_KEY),
            incremental=True,
            has_header=True,
        )
        with Path(table.full_path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(OUTPUT_COLUMNS)
            writer.writerows(as_rows(sums))
        self.write_manifest(table)


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception:
        logging.exception("The component failed.")
        sys.exit(2)
