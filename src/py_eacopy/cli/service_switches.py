"""EACopyService's own switches, for ``eacopy serve``, so that the command line of a service can stay as it is."""

import re
from typing import Any, Callable, Dict, NoReturn, Sequence, Tuple

#: Where EACopyService listens when it is not told.
PORT = 18099


class SwitchError(Exception):
    """A switch that is not known, or not possible here; the text says which, and what is."""


def _number(value: str) -> int:
    if not value.isdecimal() or not value.isascii():
        raise ValueError("a whole number")
    return int(value)


def _text(value: str) -> str:
    if not value:
        raise ValueError("something after the colon")
    return value


#: Switches with a value: the option that it is for, and what makes it of the text.
_VALUES: Dict[str, Tuple[str, Callable[[str], Any]]] = {
    "/P": ("port", _number),
    "/IP": ("host", _text),
    "/HISTORY": ("history_size", _number),
    "/LINKDB": ("history_file", _text),
    "/LINKMIN": ("link_min_size", _number),
    "/LOG": ("log", _text),
}
#: Switches without one, and what they mean.
_FLAGS: Dict[str, Tuple[str, Any]] = {
    "/HASH": ("use_hash", True),
    "/LINK": ("link_mode", "hard"),
    "/LINKBYNAME": ("link_by_name", True),
    "/NOLINKS": ("link_mode", "never"),
    "/UNSECURE": ("security_file", False),
    "/VERBOSE": ("verbose", True),
}
#: What cannot be had here, and the remedy.
_SERVICE_MANAGER = "let the system's service manager run eacopy serve: see deploy/eacopy.service and docs/server.md"
_IMPOSSIBLE = dict.fromkeys(("/INSTALL", "/REMOVE", "/USER", "/PASS"), _SERVICE_MANAGER)
#: What is so anyway: files go through the system's cache, and are copied on the server where they cannot be linked.
_ANYWAY = ("/NJ", "/OFFLOAD")
#: A hint that is not taken, and changes no result.
_UNHEEDED = "/J"


def parse(switches: Sequence[str], note: Callable[[str], None]) -> Dict[str, Any]:
    """The options of ``eacopy serve`` that EACopyService's switches stand for. Raises SwitchError.

    Without /P: the port is EACopyService's.

    Args:
        note: told of what is understood, but not heeded.
    """
    options: Dict[str, Any] = {"port": PORT} if switches else {}
    for switch in switches:
        name, colon, value = switch.partition(":")
        name = name.upper()
        if name in _IMPOSSIBLE:
            raise SwitchError("%s is not possible: %s" % (name, _IMPOSSIBLE[name]))  # its value may be a secret
        if not re.fullmatch("/[A-Z]+", name):
            raise SwitchError(
                "%r is no switch; to begin with a history, as /LINK with directories does, give /LINKDB:file" % switch
            )
        if name == _UNHEEDED and not colon:
            note("%s is not heeded: files go through the system's cache" % switch)
        elif name in _ANYWAY and not colon:
            continue
        elif name in _FLAGS and not colon:
            option, meaning = _FLAGS[name]
            options[option] = meaning
        elif name in _VALUES and colon:
            option, convert = _VALUES[name]
            try:
                options[option] = convert(value)
            except ValueError as error:
                raise SwitchError("%s is not legal: it needs %s" % (switch, error)) from None
        else:
            _refuse(switch)
    return options


def _refuse(switch: str) -> NoReturn:
    legal = sorted([name + ":..." for name in _VALUES] + list(_FLAGS))
    raise SwitchError("%s is not known; the switches are: %s" % (switch, " ".join(legal)))
