"""Data: where the targets come from."""
