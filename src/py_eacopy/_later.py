"""Functions whose engines come with a later version. They have their final names and signatures, and say what to use
instead."""

from typing import Any, NoReturn, Optional, Union

from ._config import Config
from ._errors import UnsupportedError
from ._paths import StrOrBytesPath

#: The port of a server that is not told another.
PORT = 31337


def copy_with_server(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    server_addr: str,
    port: int = PORT,
    compression_level: Optional[Union[int, str]] = None,
    **options: Any,
) -> NoReturn:
    """Copies through a server beside the share. Not in this version: raises :class:`UnsupportedError`, kind
    UNSUPPORTED."""
    raise UnsupportedError("copy_with_server is not in this version; copy to a mounted share with copy2 or copytree")


def create_server(port: int = PORT, thread_count: int = 4, **options: Any) -> NoReturn:
    """Makes a server. Not in this version: raises :class:`UnsupportedError`, kind UNSUPPORTED."""
    raise UnsupportedError("create_server is not in this version; share the directory by the operating system's means")


def delta_copy(
    src: StrOrBytesPath, dst: StrOrBytesPath, reference: StrOrBytesPath, *, config: Optional[Config] = None
) -> NoReturn:
    """Copies only what differs from a reference. Not in this version: raises :class:`UnsupportedError`, kind
    UNSUPPORTED."""
    raise UnsupportedError("delta_copy is not in this version; copy the whole file with copy2")
