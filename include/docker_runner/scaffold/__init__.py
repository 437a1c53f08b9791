"""Writes the files with which a new configuration or component begins: ``docker-runner new``."""
