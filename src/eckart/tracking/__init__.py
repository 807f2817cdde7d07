"""W&B: what runs log to it, what its files say, and its workspaces."""
