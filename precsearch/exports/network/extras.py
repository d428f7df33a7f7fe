"""Packages that some formats need, and that are not installed with precsearch."""

from __future__ import annotations

from importlib import import_module

from precsearch.errors import ExportError


def require(name: str, extra: str, *packages: str) -> None:
    """Load what a format needs.

    Args:
        name: of the format, for the message.
        extra: of precsearch, that installs the packages.
        packages: modules, by the names that they are imported by.

    Raises:
        ExportError: when one is not installed, or does not load.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"does not load ({error})"
            raise ExportError(
                f"format {name!r} needs {package}, which {why}; run: pip install 'precsearch[{extra}]'"
            ) from None
