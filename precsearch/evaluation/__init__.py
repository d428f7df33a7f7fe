"""Measuring one network."""
