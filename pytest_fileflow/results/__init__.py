"""What is kept of a run: its record, and where records are stored. Nothing here sees more than the record."""
