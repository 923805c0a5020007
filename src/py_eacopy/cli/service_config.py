"""The configuration file of ``eacopy serve``: TOML, with the options of EACopyServer and those of the service."""

import os
import stat
import sys
from typing import Any, Dict, NoReturn, Tuple

from .._control import logger

#: What a key may hold: the Python types, and how they are called in TOML.
_TEXT = ((str,), "a string")
_NUMBER = ((int,), "a whole number")
_SECONDS = ((int, float), "a number")
_FLAG = ((bool,), "true or false")
_TABLE = ((dict,), "a table of strings")

KEYS: Dict[str, Tuple[Tuple[type, ...], str]] = {
    "backend": _TEXT,
    "compression": _FLAG,
    "delta": _FLAG,
    "history_file": _TEXT,
    "history_size": _NUMBER,
    "host": _TEXT,
    "idle_timeout": _SECONDS,
    "link_by_name": _FLAG,
    "link_min_size": _NUMBER,
    "link_mode": _TEXT,
    "log": _TEXT,
    "max_connections": _NUMBER,
    "metrics": _TEXT,
    "port": _NUMBER,
    "quiet": _FLAG,
    "security_file": _FLAG,
    "shares": _TABLE,
    "thread_count": _NUMBER,
    "token": _TEXT,
    "token_file": _TEXT,
    "use_hash": _FLAG,
    "verbose": _FLAG,
}
_PATHS = ("history_file", "log", "token_file")


class ConfigFileError(Exception):
    """What is wrong with the file; the text names it, the key, and what is legal."""


def read(path: str) -> Dict[str, Any]:
    """The options in a file, by their names. Relative paths are relative to its directory.

    Raises ConfigFileError.
    """
    options = _parse(path)
    for key, value in options.items():
        if key not in KEYS:
            _refuse(path, "unknown key %r; legal keys are: %s" % (key, ", ".join(KEYS)))
        types, words = KEYS[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            _refuse(path, "%s = %r is not legal: it must be %s" % (key, value, words))
    for name, directory in options.get("shares", {}).items():
        if not isinstance(directory, str):
            _refuse(path, "shares.%s = %r is not legal: it must be the path of a directory" % (name, directory))
    if "token" in options and "token_file" in options:
        _refuse(path, "token and token_file are both there; one of them is enough")
    here = os.path.dirname(os.path.abspath(path))
    for key in _PATHS:
        if key in options:
            options[key] = os.path.join(here, options[key])
    if "shares" in options:
        options["shares"] = {name: os.path.join(here, share) for name, share in options["shares"].items()}
    return options


def read_token(path: str) -> str:
    """The secret that a file holds. Raises ConfigFileError."""
    try:
        with open(path, encoding="utf-8") as stream:
            token = stream.read().strip()
            mode = os.fstat(stream.fileno()).st_mode
    except (OSError, UnicodeError) as error:
        _refuse(path, "the token cannot be read: %s" % (getattr(error, "strerror", None) or error))
    if not token:
        _refuse(path, "the file of the token is empty")
    if os.name == "posix" and mode & stat.S_IROTH:
        logger.warning("%s can be read by every user of this machine; chmod 600 it", path)
    return token


def _parse(path: str) -> Dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            _refuse(path, "reading it needs tomli: pip install 'py-eacopy[cli]'")
    try:
        with open(path, "rb") as stream:
            found: Dict[str, Any] = tomllib.load(stream)
    except OSError as error:
        _refuse(path, error.strerror or str(error))
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        _refuse(path, "this is no TOML: %s" % error)
    return found


def _refuse(path: str, text: str) -> NoReturn:
    raise ConfigFileError("%s: %s" % (path, text))
