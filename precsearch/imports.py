"""The user's own functions by import path: found, and called with the keys they accept.

Loads neither torch nor the user's code before it is asked to.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from precsearch.errors import ConfigurationError, PrecsearchError

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def is_import_path(name: str) -> bool:
    """Whether `name` is meant as ``package.module:function`` rather than as a registered name."""
    return ":" in name


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for an error's end: ``; nearest: 'x'`` where one of `names` resembles `name`, else nothing."""
    found = difflib.get_close_matches(name, sorted(names), n=1)
    return f"; nearest: {found[0]!r}" if found else ""


def registered(name: str, names: Iterable[str], key: str) -> str:
    """Check that `name` is one of `names`.

    Args:
        name: what the user wrote.
        names: what is registered.
        key: where the user wrote it, such as ``model.name``.

    Returns:
        `name`.

    Raises:
        ConfigurationError: it is not; the message lists the names and the nearest.
    """
    known = sorted(names)
    if name not in known:
        hint = f"; did you mean {':'.join(name.rsplit('.', 1))!r}?" if "." in name else nearest(name, known)
        raise ConfigurationError(
            f"`{key}` must be one of {', '.join(known)}, or an import path `package.module:function`, "
            f"but got {name!r}{hint}"
        )
    return name


def load_object(path: str) -> Any:
    """Import an object by path; the current directory is searched first, as when Python runs a script there.

    Args:
        path: ``package.module:name``; the name may have dots.

    Returns:
        The object.

    Raises:
        ConfigurationError: the path is malformed, the module is not found or raises, or it lacks the name.
    """
    module_name, name = _split(path)
    module = _import(module_name, path)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [known for known in dir(found) if not known.startswith("_")]
            raise ConfigurationError(
                f"cannot load {path!r}: {_place(module)} has no {part!r}{nearest(part, public)}"
            ) from None
    return found


def call_own(
    function: Callable[..., Any],
    path: str,
    given: Mapping[str, Any],
    offered: Mapping[str, Any],
    *,
    section: str,
    refused: type[PrecsearchError],
    raised: type[PrecsearchError],
) -> Any:
    """Call the user's (or a registered) function by keyword.

    Args:
        function: what to call.
        path: its name in messages.
        given: arguments the user wrote; each must be accepted.
        offered: arguments we know; passed where the signature names them (``**kwargs`` does not count, since
            what lies behind it may refuse them) and the user gave none.
        section: the block of the YAML that `given` comes from, ``model`` or ``data``.
        refused: error where an argument is unknown or missing.
        raised: error where the function itself raised another one than ours.

    Returns:
        What the function returns.

    Raises:
        PrecsearchError: of kind `refused` or `raised`, or whatever of its kinds the function raised.
    """
    arguments = _accepted(function, path, given, offered, section=section, error=refused)
    try:
        return function(**arguments)
    except PrecsearchError:
        raise
    except Exception as problem:
        raise raised(f"`{section}.name` {path!r} raised {_told(problem)}") from problem


def _accepted(
    function: Callable[..., Any],
    path: str,
    given: Mapping[str, Any],
    offered: Mapping[str, Any],
    *,
    section: str,
    error: type[PrecsearchError],
) -> dict[str, Any]:
    if not callable(function):
        raise error(f"`{section}.name` {path!r} must be callable, but it is a {type(function).__name__}")
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins tell no signature: let them judge
        return dict(given)
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind in _BY_NAME}
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    own = [name for name in named if name not in offered]
    for key in given:
        if key not in named and not open_ended:
            raise error(
                f"`{section}.{key}` is not an argument of {path!r}, "
                f"which accepts {', '.join(own) or 'none'}{nearest(key, own)}"
            )
    arguments = {**{key: value for key, value in offered.items() if key in named}, **given}
    missing = [name for name, known in named.items() if known.default is known.empty and name not in arguments]
    if missing:
        keys = ", ".join(f"`{section}.{name}`" for name in missing)
        raise error(f"{path!r} needs the argument {', '.join(missing)}: give {keys}")
    return arguments


def _split(path: str) -> tuple[str, str]:
    module, colon, name = path.partition(":")
    if module.endswith(".py") or "/" in module or "\\" in module:
        dotted = re.sub(r"[/\\]+", ".", module.removesuffix(".py")).strip(".")
        hint = f"; a module is named with dots and without `.py`: {dotted}:{name or 'function'}"
    elif not colon and "." in module:
        hint = f"; did you mean {':'.join(module.rsplit('.', 1))!r}?"
    else:
        hint = ""
    parts = [*module.split("."), *name.split(".")]
    if hint or not all(part.isidentifier() for part in parts):
        raise ConfigurationError(f"an import path `package.module:function` must hold, but got {path!r}{hint}")
    return module, name


def _import(name: str, path: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # the file may have been written a moment ago
    try:
        return _import_past_torchvision(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise _raised(path, name, problem) from problem  # found, but a module it imports is missing
        raise ConfigurationError(
            f"cannot load {path!r}: {problem.msg}; the current directory {here} is on the path, "
            "so a file beside where you run precsearch is found; is the package installed here?"
        ) from None
    except PrecsearchError as problem:
        raise ConfigurationError(f"cannot load {path!r}: {problem}") from problem
    except (Exception, SystemExit) as problem:
        raise _raised(path, name, problem) from problem


def _import_past_torchvision(name: str) -> ModuleType:
    from precsearch.torchvision_import import import_torchvision, is_missing_operator

    try:
        return importlib.import_module(name)
    except RuntimeError as problem:
        if not is_missing_operator(problem):
            raise
    import_torchvision()
    return importlib.import_module(name)


def _raised(path: str, module: str, problem: BaseException) -> ConfigurationError:
    return ConfigurationError(f"cannot load {path!r}: importing {module!r} raised {_told(problem)}")


def _told(problem: BaseException) -> str:
    # where it happened: the command line prints no traceback
    frames = traceback.extract_tb(problem.__traceback__)
    inside = (__file__, importlib.__file__)
    outside = [f for f in frames if not f.filename.startswith("<") and f.filename not in inside]
    where = f" ({outside[-1].filename}:{outside[-1].lineno})" if outside else ""
    return f"{type(problem).__name__}: {problem}{where}"


def _place(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return f"module {module.__name__!r}" + (f" ({file})" if file else "")
