"""Matrix files: what people keep their matrices in."""
