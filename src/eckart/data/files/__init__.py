"""Readers of matrix files."""
