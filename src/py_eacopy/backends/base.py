"""The interface between the strategy layer and an engine. Two implementations, equal in results and errors."""

import abc
from typing import Callable, FrozenSet, Mapping

from .._control import Control
from .._errors import UnsupportedError
from .._job import CopyJob, CopyOptions
from .._report import CopyReport
from .._server_options import ServerOptions

#: Results of :meth:`Backend.copy_file`.
COPIED = 0
#: The file is too large for the direct path; nothing was touched.
NEEDS_JOB = 2
#: The destination was a directory and took the file in under its own name.
COPIED_INTO = 3


class Backend(abc.ABC):
    """Runs jobs. Holds no state of a job, so that one object serves all threads."""

    name: str

    @abc.abstractmethod
    def capabilities(self) -> FrozenSet[str]:
        """What this build can do here: "clone", "copy_file_range", "sendfile", "sparse", "xattr", "zstd"..."""

    @abc.abstractmethod
    def copy_file(self, source: bytes, destination: bytes, options: CopyOptions) -> int:
        """The direct path for one small file: copies in the calling thread without progress, cancelling or retries.

        Returns COPIED, COPIED_INTO, or NEEDS_JOB when the file is too large to be copied without them.
        Raises the EACopyError that the job's path would raise.
        """

    @abc.abstractmethod
    def run(self, job: CopyJob, control: Control) -> CopyReport:
        """Runs a job to its end in the calling thread (with workers of its own) and reports.

        Failures of single files go to ``control.record`` and into the report; whether they are raised is decided
        by the caller. Under "raise" and "retry" a failing *item* ends the job: no further item is begun.
        An exception out of a callback, the filter or the items' iterator stops the job, removes partial files, and
        comes out unchanged. A cancelled job raises CopyInterruptedError.
        """

    def serve(self, options: ServerOptions, log: Callable[[int, str], None]) -> "RunningServer":
        """Starts a server, in threads of its own, and returns when it listens.

        Args:
            options: how.
            log: takes a level of :mod:`logging` and a line; called in any thread.

        Raises:
            NetworkError: it cannot listen there.
        """
        raise UnsupportedError("the %s backend does not serve" % self.name)


class RunningServer(abc.ABC):
    """A server that listens, until it is stopped."""

    port: int

    @abc.abstractmethod
    def statistics(self) -> Mapping[str, float]:
        """What :class:`py_eacopy.ServerStats` lists. Any thread may ask, also after the end."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Cuts all connections, removes what is unfinished, and returns when all threads are out. Once is enough."""
