"""Storages: where tables, files and state live."""
