"""Airport report: one short Markdown file about the punctuality of one airport."""

import csv
import logging
import sys
from pathlib import Path

from keboola.component import ComponentBase, UserException
from report import Summary, render

MOST_WORST_DAYS = 31
AIRPORT_COLUMNS = ("faa", "name", "lat", "lon", "alt")
DELAYS_COLUMNS = ("day", "origin", "carrier", "flights", "cancelled", "delayed_share")


class Component(ComponentBase):
    """Reads the airports and their daily delays, writes a report as a file."""

    def run(self) -> None:
        """The action ``run``."""
        code = self._text("airport")
        author = self._text("author")
        airport = self._airport(code)
        summary = Summary()
        for row in self._rows("daily_delays.csv", DELAYS_COLUMNS):
            if row["origin"] == code:
                summary.add(row)
        if not summary.days:
            raise UserException(f"There is nothing to report: no flights of airport {code} in daily_delays.csv.")

        text = render(airport, summary, author=author, worst_days=self._worst_days())
        report = self.create_out_file_definition(
            f"airport-report-{code}.md", tags=["airport-report", code], is_encrypted=True
        )
        Path(report.full_path).write_text(text, encoding="utf-8")
        self.write_manifest(report)
        logging.info("Report about %s (%s) written: %s days.", airport["name"], code, len(summary.days))

    def _text(self, name: str) -> str:
        value = self.configuration.parameters.get(name)
        if not isinstance(value, str) or not value.strip():
            raise UserException(f"Parameter {name!r} must be a text, not {value!r}.")
        return value.strip()

    def _worst_days(self) -> int:
        number = self.configuration.parameters.get("worst_days", 3)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MOST_WORST_DAYS:
            right = f"a whole number from 0 to {MOST_WORST_DAYS}"
            raise UserException(f"Parameter 'worst_days' must be {right}, not {number!r}.")
        return number

    def _airport(self, code: str) -> dict[str, str]:
        for row in self._rows("airports.csv", AIRPORT_COLUMNS):
            if row["faa"] == code:
                return row
        raise UserException(f"Parameter 'airport': there is no airport {code!r} in airports.csv.")

    def _rows(self, name: str, columns: tuple[str, ...]):
        # The name of a definition is the table's in Storage; its file is named by the input mapping.
        tables = {Path(table.full_path).name: table for table in self.get_input_tables_definitions()}
        if name not in tables:
            raise UserException(f"The input mapping must have a table with the destination {name!r}.")
        with Path(tables[name].full_path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise UserException(f"{name} lacks the columns {', '.join(missing)}: add them to its input mapping.")
            yield from reader


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception:
        logging.exception("The component failed.")
        sys.exit(2)
