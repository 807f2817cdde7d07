"""Layers and nets of low rank. Pure torch."""
