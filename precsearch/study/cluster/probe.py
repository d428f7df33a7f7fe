"""What a node has, asked before precsearch is known to be there: standard library only, and pickled by value."""

from __future__ import annotations

from typing import Any


def describe_node(packages: tuple[str, ...]) -> dict[str, Any]:
    """Python's version, those of `packages`, and a digest of precsearch's source, as far as they are there.

    Returns:
        ``python`` (text), ``packages`` (name -> version), ``precsearch`` (16 hexadecimal digits, or None).
    """
    import hashlib
    import importlib.util
    import platform
    from importlib import metadata
    from pathlib import Path

    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    spec = importlib.util.find_spec("precsearch")
    digest = None
    if spec is not None and spec.origin is not None:
        total = hashlib.sha256()
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*.py")):
            total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
        digest = total.hexdigest()[:16]
    return {"python": platform.python_version(), "packages": versions, "precsearch": digest}
