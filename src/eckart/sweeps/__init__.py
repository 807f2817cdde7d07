"""Many jobs: stacks, processes, clusters."""
