"""shutil's functions as they were when this package was imported, and as they stay when shutil is patched.

A function of shutil finds its helpers in shutil's own namespace. While :func:`py_eacopy.patched_shutil` is in force, or
somebody else patches shutil, it would find the replacements there; these copies look into a namespace of their own.
"""

import shutil
import types
from typing import Any, Callable, Dict, cast

_Function = Callable[..., Any]

#: What callers who imported from shutil hold in their hands.
SHUTIL_COPYFILE: _Function = shutil.copyfile
SHUTIL_COPY: _Function = shutil.copy
SHUTIL_COPY2: _Function = shutil.copy2


def _over(namespace: Dict[str, Any], value: Any) -> Any:
    """A function of shutil that looks for its helpers in another namespace; anything else stays as it is."""
    if not isinstance(value, types.FunctionType) or value.__globals__ is not vars(shutil):
        return value
    function = types.FunctionType(
        value.__code__, namespace, value.__name__, value.__defaults__, cast(Any, value.__closure__)
    )
    function.__kwdefaults__ = cast(Any, value.__kwdefaults__)
    return function


_as_imported = dict(vars(shutil))
_isolated: Dict[str, Any] = {}
_isolated.update({name: _over(_isolated, value) for name, value in _as_imported.items()})

copymode: _Function = _isolated["copymode"]
copystat: _Function = _isolated["copystat"]
copytree: _Function = _isolated["copytree"]


def move_with(copytree: _Function) -> _Function:
    """shutil.move over another copytree."""
    return cast(_Function, _over(dict(_isolated, copytree=copytree), _as_imported["move"]))
