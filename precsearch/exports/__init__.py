"""What was found on its way out: one class or function a format."""

from precsearch.exports.door import export as export
from precsearch.exports.door import export_model as export_model
from precsearch.exports.formats import FORMATS as FORMATS
from precsearch.exports.importing import import_allocation as import_allocation
