"""What code that copies tells whoever runs it, and asks: where it is, how far it came, whether to stop."""

from typing import NoReturn, Optional

from ..._errors import ErrorKind, Operation
from .throttle import Throttle


class Refusal(OSError):
    """A failure of which this engine knows more than the errno says."""

    def __init__(self, number: int, kind: Optional[ErrorKind]) -> None:
        super().__init__(number, "")
        self.kind = kind


class Monitor:
    """Watches one copy after the other. This one has nobody to tell; the job's has (see worker.py).

    Attributes:
        operation, offset: set before each step that may fail, so that one handler can tell what failed.
        throttle: of the job; None without a limit of its rate.
    """

    operation = Operation.NONE
    offset = 0
    #: Metadata is to have owner and group, too.
    keeps_owner = False
    throttle: Optional[Throttle] = None

    def begin(self, total: int) -> None:
        """A file of so many bytes is about to be copied."""

    def advance(self, count: int) -> None:
        """So many bytes more are at the destination."""

    def admit(self, wanted: int) -> int:
        """How much of so many bytes may be written now; waits for it where the rate is limited. May raise Cancelled.

        What clones extents writes nothing, and need not ask.
        """
        return wanted if self.throttle is None else self.throttle.take(wanted, self.check)

    def give_back(self, count: int) -> None:
        """So much of what was admitted was not written."""
        if self.throttle is not None:
            self.throttle.give_back(count)

    def check(self) -> None:
        """Raises Cancelled when the job is to stop."""

    def not_kept(self, what: str) -> None:
        """Something of a file's metadata could not be set, which does no harm to the copy."""

    def refuse(self, number: int, operation: Operation, kind: Optional[ErrorKind] = None) -> NoReturn:
        """Fails for a reason that no system call gave."""
        self.operation = operation
        raise Refusal(number, kind)
