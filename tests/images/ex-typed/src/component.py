"""An extractor of typed tables: it knows the type of every column and says so in its manifest."""

import csv
import logging
import sys
from collections import OrderedDict
from pathlib import Path

from keboola.component.base import ComponentBase
from keboola.component.dao import BaseType, ColumnDefinition
from keboola.component.exceptions import UserException

SCHEMA = OrderedDict(
    id=ColumnDefinition(data_types=BaseType.integer(), primary_key=True, description="Number of the order."),
    customer=ColumnDefinition(data_types=BaseType.string(length="100"), metadata={"pii": "yes"}),
    price=ColumnDefinition(data_types=BaseType.numeric(length="10,2")),
    weight=ColumnDefinition(data_types=BaseType.float()),
    paid=ColumnDefinition(data_types=BaseType.boolean()),
    ordered_on=ColumnDefinition(data_types=BaseType.date()),
    changed_at=ColumnDefinition(data_types=BaseType.timestamp()),
)


class Component(ComponentBase):
    """Writes the orders that its parameters list."""

    def run(self):
        orders = self.configuration.parameters.get("orders") or []
        if not orders:
            raise UserException("There is no order.")
        schema = OrderedDict(SCHEMA)
        for name in self.configuration.parameters.get("more_columns") or []:
            schema[name] = ColumnDefinition(data_types=BaseType.integer())
        table = self.create_out_table_definition(
            "orders.csv", schema=schema, incremental=True, has_header=True, description="What was ordered."
        )
        with Path(table.full_path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, table.column_names, dialect="kbc", restval="")
            writer.writeheader()
            writer.writerows(orders)
        self.write_manifest(table)
        logging.info("%s orders written.", len(orders))


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception as error:
        logging.exception(error)
        sys.exit(2)
