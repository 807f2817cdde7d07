"""One stack of jobs, from its config to its results."""
