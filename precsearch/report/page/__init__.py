"""The report as one HTML page that needs nothing but itself."""

from precsearch.report.page.write import Written as Written
from precsearch.report.page.write import write_report as write_report
