"""precsearch: how many bits does each layer need?"""

__version__ = "0.1.0"
