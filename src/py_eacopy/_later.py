"""What comes with a later version. It has its final name and signature, and says what to use instead."""

from typing import NoReturn, Optional

from ._config import Config
from ._errors import UnsupportedError
from ._paths import StrOrBytesPath


def delta_copy(
    src: StrOrBytesPath, dst: StrOrBytesPath, reference: StrOrBytesPath, *, config: Optional[Config] = None
) -> NoReturn:
    """Copies only what differs from a reference. Not in this version: raises :class:`UnsupportedError`, kind
    UNSUPPORTED."""
    raise UnsupportedError("delta_copy is not in this version; copy the whole file with copy2")
