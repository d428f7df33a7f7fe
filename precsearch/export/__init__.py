"""Allocations on their way out: one function a format."""

from precsearch.export.formats import FORMATS as FORMATS
from precsearch.export.formats import export_allocation as export_allocation
