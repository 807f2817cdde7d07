"""Targets, probes, samples and files."""
