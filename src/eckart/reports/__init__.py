"""One page of HTML about any number of runs, ours or others'."""
