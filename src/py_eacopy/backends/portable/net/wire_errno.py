"""Numbers of errors on the wire: Linux's, whatever system sends or receives them."""

import errno
import sys
from typing import Dict

#: Where the numbers of a system may be others. Of two names of one number, the last is what it means when it comes.
_LINUX = {
    "EAGAIN": 11,
    "EDEADLK": 35,
    "ENAMETOOLONG": 36,
    "ENOSYS": 38,
    "ENOTEMPTY": 39,
    "ELOOP": 40,
    "EOVERFLOW": 75,
    "EILSEQ": 84,
    "EOPNOTSUPP": 95,
    "ENOTSUP": 95,
    "EADDRINUSE": 98,
    "EADDRNOTAVAIL": 99,
    "ENETDOWN": 100,
    "ENETUNREACH": 101,
    "ENETRESET": 102,
    "ECONNABORTED": 103,
    "ECONNRESET": 104,
    "ENOBUFS": 105,
    "ENOTCONN": 107,
    "ETIMEDOUT": 110,
    "ECONNREFUSED": 111,
    "EHOSTUNREACH": 113,
    "ESTALE": 116,
    "EDQUOT": 122,
    "ECANCELED": 125,
}

_TO_WIRE: Dict[int, int] = {}
_FROM_WIRE: Dict[int, int] = {}
if sys.platform != "linux":
    _FROM_WIRE.update({number: getattr(errno, name) for name, number in _LINUX.items() if hasattr(errno, name)})
    _TO_WIRE.update({getattr(errno, name): number for name, number in _LINUX.items() if hasattr(errno, name)})


def to_wire(number: int) -> int:
    return _TO_WIRE.get(number, number)


def from_wire(number: int) -> int:
    return _FROM_WIRE.get(number, number)
