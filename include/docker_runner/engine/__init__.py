"""The Docker engine: images, containers, their logs."""
