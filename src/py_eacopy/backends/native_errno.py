"""Numbers of errors, as the engine has them from the C runtime and Python from the operating system.

They are the same but for Windows, where the runtime numbers what came with sockets on its own (100 to 140 in <errno.h>)
while Python's :mod:`errno` has Winsock's numbers for most of that; and that the engine tells a file that somebody else
has open (EBUSY) from one that is forbidden, while Python and :mod:`shutil` raise PermissionError for both.
"""

import errno
import sys
from typing import Dict, Tuple

from .._errors import ErrorKind

_NAMES = (
    *("EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EALREADY", "EBADMSG", "ECANCELED", "ECONNABORTED"),
    *("ECONNREFUSED", "ECONNRESET", "EDESTADDRREQ", "EHOSTUNREACH", "EIDRM", "EINPROGRESS", "EISCONN", "ELOOP"),
    *("EMSGSIZE", "ENETDOWN", "ENETRESET", "ENETUNREACH", "ENOBUFS", "ENODATA", "ENOLINK", "ENOMSG", "ENOPROTOOPT"),
    *("ENOSR", "ENOSTR", "ENOTCONN", "ENOTRECOVERABLE", "ENOTSOCK", "ENOTSUP", "EOPNOTSUPP", "EOTHER", "EOVERFLOW"),
    *("EOWNERDEAD", "EPROTO", "EPROTONOSUPPORT", "EPROTOTYPE", "ETIME", "ETIMEDOUT", "ETXTBSY", "EWOULDBLOCK"),
)
#: Python's numbers by the runtime's, where they differ.
PYTHON_ERRNO: Dict[int, int] = {}
if sys.platform == "win32":
    PYTHON_ERRNO.update(
        (number, getattr(errno, name)) for number, name in enumerate(_NAMES, 100) if hasattr(errno, name)
    )

# What EBUSY is in the engine, in an operation of any sort: other kinds say more than the errno.
_KINDS_OF_BUSY = frozenset({ErrorKind.IO, ErrorKind.READ_ERROR, ErrorKind.WRITE_ERROR})


def python_errno(number: int, kind: ErrorKind) -> Tuple[int, ErrorKind]:
    """What Python says for an errno of the engine and its kind."""
    if sys.platform == "win32" and number == errno.EBUSY and kind in _KINDS_OF_BUSY:
        return errno.EACCES, ErrorKind.PERMISSION_DENIED
    return PYTHON_ERRNO.get(number, number), kind
