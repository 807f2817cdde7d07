"""Pages and pictures over many results."""
