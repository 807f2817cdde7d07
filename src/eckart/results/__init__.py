"""What runs leave on disk, read back, and tables of it. No torch."""
