"""What eckart costs beside what people use for the same task, measured in one run."""
