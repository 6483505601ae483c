"""A function of somebody's module or file, by its name."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

from xentcli.errors import XentError
from xentcli.process import describe

Function = Callable[..., Any]


def load(target: str) -> Function:
    """Import ``module:function`` or ``path/to/file.py:function``.

    Raises XentError where there is no such thing, or where what is imported raises.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise XentError(f"{target}: name a function: module:function or path/to/file.py:function")
    try:
        module = _import(where)
    except XentError:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name == where.partition(".")[0]:
            raise XentError(f"{target}: {error}; a file ends in .py: path/to/file.py:function") from error
        raise XentError(f"{target}: cannot be imported: {describe(error)}") from error
    try:
        function = attrgetter(name)(module)
    except AttributeError as error:
        raise XentError(f"{target}: {error}") from error
    if not callable(function):
        raise XentError(f"{target}: is {type(function).__name__}, not a function")
    return function


def _import(where: str) -> Any:
    if not where.endswith(".py"):
        if importlib.util.find_spec(where.partition(".")[0]) is None:  # what is installed needs no folder
            sys.path.append(str(Path.cwd()))
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise XentError(f"{where}: {'is a folder' if path.is_dir() else 'no such file'}")
    sys.path.insert(0, str(path.parent.resolve()))
    sys.path.append(str(Path.cwd()))
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)  # not None: the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
