"""A failed copy in the words of this engine, before the paths that the caller wrote are known."""

import errno
from typing import Optional

from ..._errors import DestinationState, EACopyError, ErrorKind, Operation, classify, error_from_failure

#: What looking through a symbolic link says when it leads nowhere, and cannot lead anywhere; anything else, such as
#: EACCES, says nothing about what is there.
DANGLING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class Cancelled(Exception):
    """The job is to stop; raised where bytes are moved."""


class CopyFailure(Exception):
    """One file, link or directory failed. See :func:`error_from_failure` for the fields."""

    def __init__(
        self,
        number: int,
        operation: Operation,
        offset: int = 0,
        state: Optional[DestinationState] = None,
        size: int = 0,
        available: int = 0,
        kind: Optional[ErrorKind] = None,
        text: str = "",
    ) -> None:
        super().__init__(number, operation)
        self.number = number
        self.operation = operation
        self.offset = offset
        self.state = state
        self.size = size
        self.available = available
        self.kind = kind or classify(number, operation)
        self.text = text

    @classmethod
    def of_cancellation(cls, state: Optional[DestinationState] = None) -> "CopyFailure":
        return cls(errno.ECANCELED, Operation.NONE, state=state)

    @property
    def cancelled(self) -> bool:
        return self.number == errno.ECANCELED and self.operation is Operation.NONE

    @property
    def retryable(self) -> bool:
        """Whether another try may succeed: not for what is wrong with the request itself."""
        return not self.cancelled and self.kind is not ErrorKind.INVALID_ARGUMENT

    def to_error(self, source: Optional[str], destination: Optional[str], root: bool) -> EACopyError:
        return error_from_failure(
            self.number,
            self.operation,
            source,
            destination,
            kind=self.kind,
            destination_state=self.state,
            offset=self.offset,
            size=self.size,
            available=self.available,
            root=root,
            text=self.text,
        )
