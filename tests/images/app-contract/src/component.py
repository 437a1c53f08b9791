"""Writes down everything that the package keboola.component finds out about its run."""

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path

from keboola.component.base import ComponentBase
from keboola.component.exceptions import UserException


class Component(ComponentBase):
    """Asks the package everything that it can be asked."""

    def __init__(self):
        super().__init__(required_parameters=["question"], required_image_parameters=["answer", "#proof"])

    def run(self):
        logging.debug("The parameter debug makes the package talkative.")
        found = {
            "environment": dataclasses.asdict(self.environment_variables),
            "data_folder": self.data_folder_path,
            "legacy_queue": self.is_legacy_queue,
            "legacy_manifests": self._expects_legacy_manifest(),
            "schemas": self.schema_folder_path,
            "action": self.configuration.action,
            "image_parameters": self.configuration.image_parameters,
            "workspace": self.configuration.workspace_credentials,
            "oauth": dataclasses.asdict(self.configuration.oauth_credentials),
            "input_tables": [dataclasses.asdict(item) for item in self.configuration.tables_input_mapping],
            "output_tables": [dataclasses.asdict(item) for item in self.configuration.tables_output_mapping],
            "input_files": [dataclasses.asdict(item) for item in self.configuration.files_input_mapping],
            "output_files": [dataclasses.asdict(item) for item in self.configuration.files_output_mapping],
            "folders": sorted(str(path.relative_to("/data")) for path in Path("/data").rglob("*") if path.is_dir()),
            "writable": [path for path in ("/data/out/tables", "/data/out/files", "/tmp") if os.access(path, os.W_OK)],
            "state": self.get_state_file(),
        }
        Path(self.files_out_path, "contract.json").write_text(json.dumps(found))
        for table in self.get_input_tables_definitions():
            Path(self.tables_out_path, "copy.csv").write_bytes(Path(table.full_path).read_bytes())


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception as error:
        logging.exception(error)
        sys.exit(2)
