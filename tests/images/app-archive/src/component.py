"""An application of files: the newest file of each name goes into one archive for each group of tags."""

import json
import logging
import sys
import zipfile
from pathlib import Path

from keboola.component.base import ComponentBase
from keboola.component.exceptions import UserException


class Component(ComponentBase):
    """Groups its input by the tags that people gave it."""

    def run(self):
        groups = self.get_input_file_definitions_grouped_by_tag_group(only_latest_files=True)
        wanted = self.configuration.parameters.get("tags")
        if wanted:
            groups = self.get_input_file_definitions_grouped_by_tag_group(tags=wanted)
        if not groups and self.configuration.parameters.get("must_find"):
            raise UserException("There is no file to archive.")
        for group, files in sorted(groups.items()):
            self.write_archive(group, files)
        self.write_listing(groups)

    def write_archive(self, group, files):
        name = f"{group.replace(';', '-') or 'untagged'}.zip"
        archive = self.create_out_file_definition(
            name, tags=["archive", *(f"archive-of-{tag}" for tag in group.split(";"))], is_permanent=True
        )
        with zipfile.ZipFile(archive.full_path, "w") as content:
            for file in sorted(files, key=lambda file: file.name):
                content.write(file.full_path, file.name)
        self.write_manifest(archive)
        logging.info("%s files archived in %s.", len(files), name)

    def write_listing(self, groups):
        """What was seen, versions included; its tags come from the output mapping or it has none."""
        everything = self.get_input_files_definitions(only_latest_files=False)
        listing = {
            "groups": {group: sorted(file.name for file in files) for group, files in groups.items()},
            "versions": {
                name: len(files)
                for name, files in self.get_input_file_definitions_grouped_by_name(only_latest_files=False).items()
            },
            "bytes": sum(file.size_bytes for file in everything),
            "created": sorted(file.created.isoformat() for file in everything),
        }
        Path(self.files_out_path, "listing.json").write_text(json.dumps(listing))


if __name__ == "__main__":
    try:
        Component().execute_action()
    except UserException as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception as error:
        logging.exception(error)
        sys.exit(2)
