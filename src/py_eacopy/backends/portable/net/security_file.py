"""Proving to be the server's own user: by reading a file that only that user can read."""

import contextlib
import hmac
import os
import threading
from typing import Dict, Optional, Tuple

from ...._errors import Operation
from .. import at
from ..monitor import Monitor
from .messages import GUID_SIZE, SECRET_SIZE
from .open_directories import OpenDirectory
from .share import Place
from .wire import proof_file_name

#: What a client sends that has no secret yet.
NO_SECRET = bytes(SECRET_SIZE)


class SecurityFile:
    """The file with the secret, in the directory that a client asks for. It is there until the context ends.

    Attributes:
        guid: names the file.
        secret: what is in it.
    """

    def __init__(self, directory: OpenDirectory, monitor: Monitor) -> None:
        self._directory = directory
        self.guid = os.urandom(GUID_SIZE)
        self.secret = os.urandom(SECRET_SIZE)
        self.name = proof_file_name(self.guid).encode()
        self._after = self._before = os.fstat(directory.descriptor)
        monitor.operation = Operation.AUTHENTICATE
        flags = at.CREATE_FLAGS | at.O_NOFOLLOW | at.O_SECRET
        descriptor = at.open(self.name, flags, 0o600, dir_fd=directory.descriptor)
        try:
            os.write(descriptor, self.secret)
        except OSError:
            self.remove()
            raise
        finally:
            os.close(descriptor)
        self._after = os.fstat(directory.descriptor)

    @property
    def path(self) -> bytes:
        """Where it is, for clients of the same machine."""
        return self._directory.share.absolute(self._directory.path).rstrip(b"/") + b"/" + self.name

    def is_proved_by(self, answer: bytes) -> bool:
        return hmac.compare_digest(answer, self.secret)

    def remove(self) -> None:
        """Removes it without a trace: the directory's time, which a client may be about to copy, is as before."""
        directory, before = self._directory, self._before
        descriptor = directory.descriptor
        with contextlib.suppress(OSError):
            unchanged = os.fstat(descriptor).st_mtime_ns == self._after.st_mtime_ns
            at.unlink(self.name, dir_fd=descriptor)
            if unchanged:
                at.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        del self._directory  # it may have to be removed next, and not everywhere can what is open be


class Secrets:
    """The secrets that were proved, for as long as a connection that knows one is open. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Dict[bytes, Tuple[Place, int]] = {}

    def add(self, secret: bytes, place: Place) -> None:
        """A first connection proved it, for a directory."""
        with self._lock:
            self._known[secret] = (place, 1)

    def join(self, secret: bytes, place: Place) -> bool:
        """A further connection tells it. False: it is not known, or for another directory."""
        with self._lock:
            known: Optional[Tuple[Place, int]] = self._known.get(secret)
            if known is None or known[0] != place:
                return False
            self._known[secret] = (place, known[1] + 1)
            return True

    def leave(self, secret: bytes) -> None:
        """A connection that added or joined ends."""
        with self._lock:
            place, count = self._known.pop(secret)
            if count > 1:
                self._known[secret] = (place, count - 1)
