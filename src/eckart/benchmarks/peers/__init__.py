"""What people use in place of eckart, as a careful user writes it."""
