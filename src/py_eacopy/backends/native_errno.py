"""Numbers of errors, as the engine has them from the C runtime and Python from the operating system.

They are the same but for Windows, where the runtime numbers what came with sockets on its own (100 to 140 in <errno.h>)
while Python's :mod:`errno` has Winsock's numbers for most of that.
"""

import errno
import sys
from typing import Dict

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
