"""The portable backend: what the strategy layer sees."""

import os
from typing import Callable, FrozenSet

from ..._control import Control
from ..._job import CopyJob, CopyOptions
from ..._report import CopyReport
from ..._server_options import ServerOptions
from ..base import COPIED, COPIED_INTO, NEEDS_JOB, Backend, RunningServer
from . import at, system
from .failure import CopyFailure
from .file_copy import FileCopier
from .job import Job
from .monitor import Monitor
from .net import zstd

#: A file that is copied in a millisecond or so: nobody waits for its progress, or to cancel it.
DIRECT_LIMIT = 1 << 20


class PortableBackend(Backend):
    """Copies with the standard library alone, in threads that spend their time in the kernel."""

    name = "portable"

    def capabilities(self) -> FrozenSet[str]:
        offers = {
            "zstd": zstd.AVAILABLE,
            "sync": True,
            # A share is only as safe as its directories are open.
            "client": at.AVAILABLE,
            "server": at.AVAILABLE,
        }
        return system.capabilities() | {name for name, offered in offers.items() if offered}

    def copy_file(self, source: bytes, destination: bytes, options: CopyOptions) -> int:
        if options.bandwidth_limit is not None:
            return NEEDS_JOB  # it may take a while
        copier = FileCopier(options, Monitor())
        source_name, target_name = os.fsdecode(source), os.fsdecode(destination)
        try:
            copied = copier.copy(
                None,
                system.file_path(source_name),
                None,
                system.file_path(target_name),
                follow=options.follow_symlinks,
                limit=DIRECT_LIMIT,
            )
        except CopyFailure as failure:
            raise failure.to_error(source_name, target_name, root=True) from None
        if not copied:
            return NEEDS_JOB
        return COPIED_INTO if copier.into_directory else COPIED

    def run(self, job: CopyJob, control: Control) -> CopyReport:
        if job.sync is not None:
            from .sync.job import SyncJob

            return SyncJob(job, control, self.name).run()
        if job.delta is not None:
            from .delta.job import DeltaJob

            return DeltaJob(job, control, self.name).run()
        if job.remote is not None:
            from .net.remote_job import RemoteJob  # takes a while to load, and most jobs are local

            return RemoteJob(job, control, self.name).run()
        return Job(job, control, self.name).run()

    def serve(self, options: ServerOptions, log: Callable[[int, str], None]) -> RunningServer:
        from .net.server import PortableServer

        return PortableServer(options, log)
