"""The source documents, trained again and compared."""
