"""The configurations as people write them, and the components they name."""
