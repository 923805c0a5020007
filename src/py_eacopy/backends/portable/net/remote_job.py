"""A job that goes through a server: the calling thread coordinates, others have the connections."""

import errno
import os
import threading
import time
from typing import List, Optional, Tuple

from ...._control import Control
from ...._errors import ErrorKind, Operation, error_from_failure
from ...._job import DELTA_ALWAYS, CopyJob, Remote
from ...._report import CopyReport, Snapshot
from ..coordinator import Coordinator
from ..directory import DirectoryCache
from ..failure import Cancelled, CopyFailure
from ..limits import share_descriptors
from ..scheduler import join_all
from . import messages
from .client import Connector, Session
from .plain_pull import pull_plainly
from .plain_push import push_plainly
from .pull import pull
from .push import push
from .tally import Tally
from .walk import check_source

#: How long the coordinator sleeps at most, so that progress is fresh. Seconds.
_TICK = 0.05
#: Unused ones that stay open. Few, because a server in this process needs some, too.
_OPEN_DIRECTORIES = 64


class RemoteJob(Coordinator):
    """Runs a :class:`CopyJob` whose one item is copied through a server.

    Attributes:
        remote: the server.
        trees: what is pushed is a tree; of a pull, the server knows that.
        source, destination: of the item, as the caller wrote them. One of the two is only for messages.
        stopping: the connections are to stop, because one of them failed for good.
        threads: most connections.
        server: the server as it names itself, when there is one.
    """

    def __init__(self, job: CopyJob, control: Control, backend: str) -> None:
        super().__init__(job, control)
        assert job.remote is not None
        self.remote: Remote = job.remote
        self.trees = job.trees
        ((source, destination),) = job.items
        self.source, self.destination = os.fsdecode(source), os.fsdecode(destination)
        self.stopping = False
        self.threads, directories = share_descriptors(job.options.thread_count)
        self.cache = DirectoryCache(min(directories, _OPEN_DIRECTORIES), handles=True)
        self.server: Optional[str] = None
        self._bytes_sent = self._bytes_received = self._packed = self._levels = 0
        self._backend = backend
        self._tallies: List[Tally] = []
        self._over = False

    # For the connections ---------------------------------------------------------------------------------------

    def paths(self, path: str) -> Tuple[str, str]:
        """Source and destination of something in the item, as the caller would write them; "": of the item itself."""
        if not path:
            return self.source, self.destination
        own = path.replace("/", os.sep)
        if self.remote.push:
            return os.path.join(self.source, own), self.destination.rstrip("/") + "/" + path
        return self.source.rstrip("/") + "/" + path, os.path.join(self.destination, own)

    def make_tally(self) -> Tally:
        tally = Tally(self)
        self._tallies.append(tally)
        return tally

    def count_wire(self, session: Session) -> None:
        """A connection was closed."""
        with self.lock:
            self._bytes_sent += session.connection.bytes_sent
            self._bytes_received += session.connection.bytes_received
            self._packed += session.channel.volume
            self._levels += session.channel.weight

    def _lead(self) -> None:
        """What the first of the working threads does: it opens the first connection, and ends last."""
        try:
            self._copy(self.make_tally())
        except Cancelled:
            pass
        except CopyFailure as failure:
            if not failure.cancelled:
                self._tallies[0].fail(failure, "", root=True)
        except BaseException as error:
            self._crashed(error)
        finally:
            self._over = True
            self._inbox.put(None)

    def _copy(self, tally: Tally) -> None:
        if self.remote.push:
            check_source(self.source, self.trees, self.options.follow_symlinks)
        connector = Connector(self.remote, self.trees, tally, self.count_wire)
        session = self._connect(connector, tally)
        self.server = session.server
        try:
            if self.remote.delta == DELTA_ALWAYS and not session.capabilities & messages.CAN_DELTA:
                text = "the server makes no deltas; leave it to delta='auto' whether to use them"
                raise CopyFailure(errno.ENOTSUP, Operation.CONNECT, kind=ErrorKind.UNSUPPORTED, text=text)
            if session.extended:
                session = (push if self.remote.push else pull)(tally, connector, session)
            else:
                session = (push_plainly if self.remote.push else pull_plainly)(tally, connector, session)
            session.say_goodbye()
        finally:
            tally.directories_created += connector.directories_made
            connector.close(session)

    def _connect(self, connector: Connector, tally: Tally) -> Session:
        """Opens the first connection. Raises CopyFailure."""
        tries = 0
        while True:
            try:
                return connector.connect(1)
            except CopyFailure as failure:
                # A proof that was refused will be again.
                final = failure.kind is ErrorKind.UNSUPPORTED or failure.operation is Operation.AUTHENTICATE
                if final or not tally.retries_left(failure, tries):
                    raise
            tries += 1
            tally.sleep(self.options.retry_delay)

    # For any thread --------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        tallies = list(self._tallies)
        return Snapshot(
            files_found=sum(t.files_found for t in tallies),
            bytes_found=sum(t.bytes_found for t in tallies),
            files_copied=sum(t.files_copied + t.files_linked + t.files_skipped for t in tallies),
            bytes_copied=sum(t.bytes_copied + t.bytes_linked + t.bytes_skipped + t.in_flight for t in tallies),
            errors=sum(t.errors for t in tallies),
        )

    # For the coordinator ---------------------------------------------------------------------------------------

    def run(self) -> CopyReport:
        start = time.perf_counter()
        self._control.attach(self.cancel, self.snapshot)
        try:
            leader = threading.Thread(target=self._lead, name="eacopy-remote")
            try:
                try:
                    leader.start()
                except RuntimeError:
                    raise error_from_failure(errno.EAGAIN, Operation.START, None, None) from None
                while not self._over:
                    self._wait(_TICK)
            except BaseException:
                self.cancelled = True
                raise
            finally:
                join_all([leader], self.cancel)
                self.cache.close_all()
            self._take_messages()
        finally:
            self._control.detach()
        if self.cancelled:
            raise self._interrupted_error()
        return self._report(time.perf_counter() - start)

    def _report(self, seconds: float) -> CopyReport:
        tallies = self._tallies
        size, reused = sum(t.bytes_copied for t in tallies), sum(t.bytes_reused for t in tallies)
        return CopyReport(
            files_copied=sum(t.files_copied for t in tallies),
            bytes_copied=size,
            bytes_reused=reused,
            bytes_written=size - reused,
            files_linked=sum(t.files_linked for t in tallies),
            bytes_linked=sum(t.bytes_linked for t in tallies),
            files_skipped=sum(t.files_skipped for t in tallies),
            bytes_skipped=sum(t.bytes_skipped for t in tallies),
            symlinks_copied=sum(t.symlinks_copied for t in tallies),
            directories_created=sum(t.directories_created for t in tallies),
            retries=sum(t.retries for t in tallies),
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            compression_level=self._levels / self._packed if self._packed else 0.0,
            server=self.server,
            errors=tuple(self._errors),
            seconds=seconds,
            backend=self._backend,
        )
