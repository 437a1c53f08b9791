"""What moves between Storage and a data folder."""
