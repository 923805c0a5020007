"""Copies files and trees as fast as the operating system can: shutil's functions over a parallel engine.

``py_eacopy.config`` is the active :class:`Config`. Its fields can be assigned to, and so can the whole::

    py_eacopy.config.thread_count = 8
    py_eacopy.config = py_eacopy.Config(atomic=True)
    with py_eacopy.temporary_config(verify=True):
        py_eacopy.copytree("photos", "/mnt/backup/photos")
"""

import sys
import types
from typing import TYPE_CHECKING

from ._api import copy, copy2, copyfile, copymode, copystat
from ._async import (
    async_apply_delta,
    async_batch_copy,
    async_batch_copy2,
    async_batch_copytree,
    async_copy,
    async_copy2,
    async_copy_with_server,
    async_copyfile,
    async_copytree,
    async_create_delta,
    async_delta_copy,
    async_sync,
)
from ._batch import batch_copy, batch_copy2, batch_copytree
from ._config import Config, ErrorStrategy, LogLevel, active, replace_active, temporary_config
from ._control import ActionCallback, Control, ProgressCallback
from ._delta import apply_delta, create_delta, delta_copy
from ._eacopy import EACopy
from ._errors import (
    CallbackError,
    ClientError,
    ConfigurationError,
    CopyInterruptedError,
    CopyIOError,
    DeltaCopyError,
    DestinationExistsError,
    DestinationIsDirectoryError,
    DestinationState,
    DirectoryNotFoundError,
    DiskFullError,
    EACopyError,
    EncodingError,
    ErrorKind,
    FFIError,
    FileTooLargeError,
    InvalidArgumentError,
    MoveError,
    NetworkError,
    NotADirectoryPathError,
    Operation,
    PathError,
    PermissionDeniedError,
    ReadError,
    SameFileCopyError,
    ServerError,
    SourceIsDirectoryError,
    SourceNotFoundError,
    SpecialFileCopyError,
    TransferTimeoutError,
    TreeError,
    UnknownError,
    UnsupportedError,
    WriteError,
)
from ._remote import copy_with_server, server_report
from ._report import CopyReport, ProgressEvent, Snapshot, SyncAction
from ._server import EACopyServer, ServerStats, create_server
from ._shutil import Error, SameFileError, SpecialFileError, copyfileobj, ignore_patterns, move, patched_shutil
from ._strategy import BackendInfo, backend_info
from ._sync import sync
from ._tree import copytree
from ._version import __version__

if TYPE_CHECKING:
    config: Config


class _Package(types.ModuleType):
    """This module with ``config`` as a property, so that assigning to it takes effect."""

    @property
    def config(self) -> Config:
        """The active Config: the innermost temporary one of this thread or task, else the global one."""
        return active()

    @config.setter
    def config(self, value: Config) -> None:
        replace_active(value)


sys.modules[__name__].__class__ = _Package

__all__ = [
    "ActionCallback",
    "BackendInfo",
    "CallbackError",
    "ClientError",
    "Config",
    "ConfigurationError",
    "Control",
    "CopyIOError",
    "CopyInterruptedError",
    "CopyReport",
    "DeltaCopyError",
    "DestinationExistsError",
    "DestinationIsDirectoryError",
    "DestinationState",
    "DirectoryNotFoundError",
    "DiskFullError",
    "EACopy",
    "EACopyError",
    "EACopyServer",
    "EncodingError",
    "Error",
    "ErrorKind",
    "ErrorStrategy",
    "FFIError",
    "FileTooLargeError",
    "InvalidArgumentError",
    "LogLevel",
    "MoveError",
    "NetworkError",
    "NotADirectoryPathError",
    "Operation",
    "PathError",
    "PermissionDeniedError",
    "ProgressCallback",
    "ProgressEvent",
    "ReadError",
    "SameFileCopyError",
    "SameFileError",
    "ServerError",
    "ServerStats",
    "Snapshot",
    "SourceIsDirectoryError",
    "SourceNotFoundError",
    "SpecialFileCopyError",
    "SpecialFileError",
    "SyncAction",
    "TransferTimeoutError",
    "TreeError",
    "UnknownError",
    "UnsupportedError",
    "WriteError",
    "__version__",
    "apply_delta",
    "async_apply_delta",
    "async_batch_copy",
    "async_batch_copy2",
    "async_batch_copytree",
    "async_copy",
    "async_copy2",
    "async_copy_with_server",
    "async_copyfile",
    "async_copytree",
    "async_create_delta",
    "async_delta_copy",
    "async_sync",
    "backend_info",
    "batch_copy",
    "batch_copy2",
    "batch_copytree",
    "config",
    "copy",
    "copy2",
    "copy_with_server",
    "copyfile",
    "copyfileobj",
    "copymode",
    "copystat",
    "copytree",
    "create_delta",
    "create_server",
    "delta_copy",
    "ignore_patterns",
    "move",
    "patched_shutil",
    "server_report",
    "sync",
    "temporary_config",
]
