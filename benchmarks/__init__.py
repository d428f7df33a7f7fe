"""Claims of the documentation, as scripts that anyone can rerun."""
