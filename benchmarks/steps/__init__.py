"""Contestants of the step benchmark."""
