"""The class EACopy: all functions with settings of their own, as methods."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Type, TypeVar, Union, overload

import attr

from . import _api, _async, _batch, _delta, _remote, _sync, _tree
from ._batch import Pairs
from ._config import DEFAULT, Config, Default, ErrorStrategy, LogLevel, checked
from ._control import Control, ProgressCallback
from ._errors import InvalidArgumentError
from ._location import PORT
from ._paths import BytesPath, StrOrBytesPath, StrPath
from ._remote import TIMEOUT
from ._report import CopyReport
from ._server import EACopyServer, create_server
from ._tree import CopyFunction, Ignore

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._watch import Watch

_Path = TypeVar("_Path", bound=StrOrBytesPath)
_Str = TypeVar("_Str", bound=StrPath)
_Bytes = TypeVar("_Bytes", bound=BytesPath)
_Self = TypeVar("_Self", bound="EACopy")


class EACopy:
    """Copies with settings of its own, which neither the global configuration nor another instance changes::

        eac = py_eacopy.EACopy(thread_count=8, atomic=True)
        eac.copytree("assets", "/mnt/share/assets")
        async with py_eacopy.EACopy() as eac:
            await eac.async_copytree("assets", "/mnt/share/assets")

    The arguments are the fields of :class:`Config`. The methods are the functions of the package with the same names,
    arguments, results and errors; see there. An instance may be used by several threads and tasks at once.

    As a context manager, synchronous or asynchronous, it is closed at the end: copies that run then go on to theirs,
    but a further call is an :class:`InvalidArgumentError`.
    """

    def __init__(
        self,
        thread_count: int = 4,
        compression_level: Union[int, str] = 0,
        buffer_size: int = 8 * 1024 * 1024,
        preserve_metadata: bool = True,
        follow_symlinks: bool = False,
        dirs_exist_ok: bool = False,
        progress_callback: Optional[ProgressCallback] = None,
        *,
        error_strategy: Union[ErrorStrategy, str] = ErrorStrategy.RAISE,
        retry_count: int = 3,
        retry_delay: float = 1.0,
        log_level: Union[LogLevel, str] = LogLevel.WARNING,
        backend: Optional[str] = None,
        reflink: str = "auto",
        atomic: bool = False,
        fsync: bool = False,
        verify: bool = False,
        bandwidth_limit: Optional[int] = None,
        path_map: Any = None,
    ) -> None:
        self._closed = False
        self._config = Config(
            thread_count=thread_count,
            compression_level=compression_level,
            buffer_size=buffer_size,
            preserve_metadata=preserve_metadata,
            follow_symlinks=follow_symlinks,
            dirs_exist_ok=dirs_exist_ok,
            progress_callback=progress_callback,
            error_strategy=error_strategy,
            retry_count=retry_count,
            retry_delay=retry_delay,
            log_level=log_level,
            backend=backend,
            reflink=reflink,
            atomic=atomic,
            fsync=fsync,
            verify=verify,
            bandwidth_limit=bandwidth_limit,
            path_map={} if path_map is None else path_map,
        )

    @classmethod
    def with_config(cls: Type[_Self], config: Config) -> _Self:
        """An instance with the settings of a Config, copied."""
        instance = cls()
        instance.set_config(config)
        return instance

    # Settings ---------------------------------------------------------------------------------------------------------

    def get_config(self) -> Config:
        """A copy of the settings; changing it changes nothing here, see :meth:`set_config`."""
        return self._config.evolve()

    def set_config(self, config: Config) -> None:
        """Takes over the settings of a Config, copied. Copies that run keep theirs."""
        self._config = checked(config).evolve()

    def set_progress_callback(self, callback: Optional[ProgressCallback]) -> None:
        """Sets the function ``callback(copied_bytes, total_bytes, filename)`` for further calls; None: none.

        The asynchronous methods call it in the event loop, and await it when it is a coroutine function.
        """
        self._config = self._config.evolve(progress_callback=callback)

    # Files and trees --------------------------------------------------------------------------------------------------

    def copyfile(
        self, src: StrOrBytesPath, dst: _Path, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> _Path:
        """Copies the contents of a file: :func:`py_eacopy.copyfile`."""
        return _api.copyfile(src, dst, follow_symlinks=follow_symlinks, config=self._open_config(), control=control)

    @overload
    def copy(
        self, src: StrPath, dst: _Str, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Str, str]: ...

    @overload
    def copy(
        self, src: BytesPath, dst: _Bytes, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Bytes, bytes]: ...

    def copy(self, src: Any, dst: Any, *, follow_symlinks: bool = True, control: Optional[Control] = None) -> Any:
        """Copies a file with its mode: :func:`py_eacopy.copy`."""
        return _api.copy(src, dst, follow_symlinks=follow_symlinks, config=self._open_config(), control=control)

    @overload
    def copy2(
        self, src: StrPath, dst: _Str, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Str, str]: ...

    @overload
    def copy2(
        self, src: BytesPath, dst: _Bytes, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Bytes, bytes]: ...

    def copy2(self, src: Any, dst: Any, *, follow_symlinks: bool = True, control: Optional[Control] = None) -> Any:
        """Copies a file with all metadata: :func:`py_eacopy.copy2`."""
        return _api.copy2(src, dst, follow_symlinks=follow_symlinks, config=self._open_config(), control=control)

    def copytree(
        self,
        src: StrOrBytesPath,
        dst: _Path,
        symlinks: bool = False,
        ignore: Optional[Ignore] = None,
        copy_function: Union[CopyFunction, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: Union[bool, Default] = DEFAULT,
        *,
        control: Optional[Control] = None,
    ) -> _Path:
        """Copies a directory tree: :func:`py_eacopy.copytree`."""
        return _tree.copytree(
            src,
            dst,
            symlinks,
            ignore,
            copy_function,
            ignore_dangling_symlinks,
            dirs_exist_ok,
            config=self._open_config(),
            control=control,
        )

    # Batches ----------------------------------------------------------------------------------------------------------

    def batch_copy(self, pairs: Pairs, *, control: Optional[Control] = None) -> CopyReport:
        """Copies many files with their modes: :func:`py_eacopy.batch_copy`."""
        return _batch.batch_copy(pairs, config=self._open_config(), control=control)

    def batch_copy2(self, pairs: Pairs, *, control: Optional[Control] = None) -> CopyReport:
        """Copies many files with all metadata: :func:`py_eacopy.batch_copy2`."""
        return _batch.batch_copy2(pairs, config=self._open_config(), control=control)

    def batch_copytree(
        self,
        pairs: Pairs,
        symlinks: Union[bool, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: Union[bool, Default] = DEFAULT,
        *,
        ignore: Optional[Ignore] = None,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Copies many directory trees: :func:`py_eacopy.batch_copytree`."""
        return _batch.batch_copytree(
            pairs,
            symlinks,
            ignore_dangling_symlinks,
            dirs_exist_ok,
            ignore=ignore,
            config=self._open_config(),
            control=control,
        )

    # With a server, and deltas ----------------------------------------------------------------------------------------

    def copy_with_server(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        server_addr: Optional[str] = None,
        port: int = PORT,
        compression_level: Union[int, str, Default] = DEFAULT,
        *,
        token: Optional[str] = None,
        required: bool = True,
        timeout: float = TIMEOUT,
        symlinks: Union[bool, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        ignore: Optional[Ignore] = None,
        delta: Union[bool, str] = "auto",
        reference: Optional[StrOrBytesPath] = None,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Copies through a server: :func:`py_eacopy.copy_with_server`."""
        return _remote.copy_with_server(
            src,
            dst,
            server_addr,
            port,
            compression_level,
            token=token,
            required=required,
            timeout=timeout,
            symlinks=symlinks,
            ignore_dangling_symlinks=ignore_dangling_symlinks,
            ignore=ignore,
            delta=delta,
            reference=reference,
            config=self._open_config(),
            control=control,
        )

    def create_server(self, port: int = PORT, thread_count: int = 4, **options: Any) -> EACopyServer:
        """Makes a server, in the backend of this instance: :func:`py_eacopy.create_server`."""
        return create_server(port, thread_count, config=self._open_config(), **options)

    def sync(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        *,
        control: Optional[Control] = None,
        **options: "Unpack[_sync.SyncOptions]",
    ) -> CopyReport:
        """Makes a directory what another one is: :func:`py_eacopy.sync`, which has the other arguments."""
        return _sync.sync(src, dst, config=self._open_config(), control=control, **options)

    def delta_copy(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        reference: StrOrBytesPath,
        *,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Copies only what differs from a reference: :func:`py_eacopy.delta_copy`."""
        return _delta.delta_copy(src, dst, reference, config=self._open_config(), control=control)

    def create_delta(
        self,
        src: StrOrBytesPath,
        reference: StrOrBytesPath,
        patch: StrOrBytesPath,
        compression_level: int = 3,
        *,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Writes what differs from a reference into a patch: :func:`py_eacopy.create_delta`."""
        return _delta.create_delta(
            src, reference, patch, compression_level, config=self._open_config(), control=control
        )

    def apply_delta(
        self,
        reference: StrOrBytesPath,
        patch: StrOrBytesPath,
        dst: StrOrBytesPath,
        *,
        allow_unchecked: bool = False,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Makes a new version out of a reference and a patch: :func:`py_eacopy.apply_delta`."""
        return _delta.apply_delta(
            reference, patch, dst, allow_unchecked=allow_unchecked, config=self._open_config(), control=control
        )

    # Asynchronous -----------------------------------------------------------------------------------------------------

    async def async_copyfile(
        self, src: StrOrBytesPath, dst: _Path, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> _Path:
        """Awaitable :meth:`copyfile`. Cancellation: as for :func:`py_eacopy.async_copyfile`."""
        return await _async.async_copyfile(
            src, dst, follow_symlinks=follow_symlinks, config=self._open_config(), control=control
        )

    @overload
    async def async_copy(
        self, src: StrPath, dst: _Str, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Str, str]: ...

    @overload
    async def async_copy(
        self, src: BytesPath, dst: _Bytes, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Bytes, bytes]: ...

    async def async_copy(
        self, src: Any, dst: Any, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Any:
        """Awaitable :meth:`copy`. Cancellation: as for :func:`py_eacopy.async_copyfile`."""
        return await _async.async_copy(
            src, dst, follow_symlinks=follow_symlinks, config=self._open_config(), control=control
        )

    @overload
    async def async_copy2(
        self, src: StrPath, dst: _Str, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Str, str]: ...

    @overload
    async def async_copy2(
        self, src: BytesPath, dst: _Bytes, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Union[_Bytes, bytes]: ...

    async def async_copy2(
        self, src: Any, dst: Any, *, follow_symlinks: bool = True, control: Optional[Control] = None
    ) -> Any:
        """Awaitable :meth:`copy2`. Cancellation: as for :func:`py_eacopy.async_copyfile`."""
        return await _async.async_copy2(
            src, dst, follow_symlinks=follow_symlinks, config=self._open_config(), control=control
        )

    async def async_copytree(
        self,
        src: StrOrBytesPath,
        dst: _Path,
        symlinks: bool = False,
        ignore: Optional[Ignore] = None,
        copy_function: Union[CopyFunction, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: Union[bool, Default] = DEFAULT,
        *,
        control: Optional[Control] = None,
    ) -> _Path:
        """Awaitable :meth:`copytree`. Cancellation: as for :func:`py_eacopy.async_copytree`."""
        return await _async.async_copytree(
            src,
            dst,
            symlinks,
            ignore,
            copy_function,
            ignore_dangling_symlinks,
            dirs_exist_ok,
            config=self._open_config(),
            control=control,
        )

    async def async_batch_copy(self, pairs: Pairs, *, control: Optional[Control] = None) -> CopyReport:
        """Awaitable :meth:`batch_copy`. Cancellation: as for :func:`py_eacopy.async_copytree`."""
        return await _async.async_batch_copy(pairs, config=self._open_config(), control=control)

    async def async_batch_copy2(self, pairs: Pairs, *, control: Optional[Control] = None) -> CopyReport:
        """Awaitable :meth:`batch_copy2`. Cancellation: as for :func:`py_eacopy.async_copytree`."""
        return await _async.async_batch_copy2(pairs, config=self._open_config(), control=control)

    async def async_batch_copytree(
        self,
        pairs: Pairs,
        symlinks: Union[bool, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: Union[bool, Default] = DEFAULT,
        *,
        ignore: Optional[Ignore] = None,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Awaitable :meth:`batch_copytree`. Cancellation: as for :func:`py_eacopy.async_copytree`."""
        return await _async.async_batch_copytree(
            pairs,
            symlinks,
            ignore_dangling_symlinks,
            dirs_exist_ok,
            ignore=ignore,
            config=self._open_config(),
            control=control,
        )

    async def async_copy_with_server(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        server_addr: Optional[str] = None,
        port: int = PORT,
        compression_level: Union[int, str, Default] = DEFAULT,
        *,
        token: Optional[str] = None,
        required: bool = True,
        timeout: float = TIMEOUT,
        symlinks: Union[bool, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        ignore: Optional[Ignore] = None,
        delta: Union[bool, str] = "auto",
        reference: Optional[StrOrBytesPath] = None,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Awaitable :meth:`copy_with_server`. Cancellation: as for :func:`py_eacopy.async_copy_with_server`."""
        return await _async.async_copy_with_server(
            src,
            dst,
            server_addr,
            port,
            compression_level,
            token=token,
            required=required,
            timeout=timeout,
            symlinks=symlinks,
            ignore_dangling_symlinks=ignore_dangling_symlinks,
            ignore=ignore,
            delta=delta,
            reference=reference,
            config=self._open_config(),
            control=control,
        )

    async def async_sync(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        *,
        control: Optional[Control] = None,
        **options: "Unpack[_sync.SyncOptions]",
    ) -> CopyReport:
        """Awaitable :meth:`sync`. Cancellation: as for :func:`py_eacopy.async_sync`."""
        return await _async.async_sync(src, dst, config=self._open_config(), control=control, **options)

    async def async_delta_copy(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        reference: StrOrBytesPath,
        *,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Awaitable :meth:`delta_copy`. Cancellation: as for :func:`py_eacopy.async_delta_copy`."""
        return await _async.async_delta_copy(src, dst, reference, config=self._open_config(), control=control)

    async def async_create_delta(
        self,
        src: StrOrBytesPath,
        reference: StrOrBytesPath,
        patch: StrOrBytesPath,
        compression_level: int = 3,
        *,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Awaitable :meth:`create_delta`. Cancellation: as for :func:`py_eacopy.async_create_delta`."""
        return await _async.async_create_delta(
            src, reference, patch, compression_level, config=self._open_config(), control=control
        )

    async def async_apply_delta(
        self,
        reference: StrOrBytesPath,
        patch: StrOrBytesPath,
        dst: StrOrBytesPath,
        *,
        allow_unchecked: bool = False,
        control: Optional[Control] = None,
    ) -> CopyReport:
        """Awaitable :meth:`apply_delta`. Cancellation: as for :func:`py_eacopy.async_apply_delta`."""
        return await _async.async_apply_delta(
            reference, patch, dst, allow_unchecked=allow_unchecked, config=self._open_config(), control=control
        )

    def watch_copytree(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        symlinks: bool = False,
        ignore: Optional[Ignore] = None,
        copy_function: Union[CopyFunction, Default] = DEFAULT,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: Union[bool, Default] = DEFAULT,
    ) -> "Watch":
        """Copies a directory tree while telling how far it is: ``async for event in eac.watch_copytree(src, dst)``.

        Args are those of :meth:`copytree`. The instance's own progress callback is not called.

        Returns:
            an asynchronous iterator of :class:`ProgressEvent`; it raises the copy's exception, if there is one, at its
            end. Its ``snapshot()`` tells how far the whole job is. A slow reader misses states in between, never the
            first or last of a file, and slows nothing down.

        Cancellation: stops the copy and waits for its end. Leaving the loop early stops it too: before
        ``async with eac.watch_copytree(...) as events:`` ends when it is used so, else without anyone waiting.
        """
        from ._watch import Watch

        config = self._open_config().evolve(progress_callback=None)
        arguments = (symlinks, ignore, copy_function, ignore_dangling_symlinks, dirs_exist_ok)
        return Watch(lambda control: _tree.copytree(src, dst, *arguments, config=config, control=control))

    # Closing ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """No further calls. What runs goes on to its end. Closing again does nothing."""
        self._closed = True

    def __enter__(self: _Self) -> _Self:
        self._open_config()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    async def __aenter__(self: _Self) -> _Self:
        self._open_config()
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        fields = attr.asdict(self._config, filter=lambda field, value: field.init and value != field.default)
        return "EACopy(%s)" % ", ".join("%s=%r" % item for item in fields.items() if item[1] != {})

    def _open_config(self) -> Config:
        if self._closed:
            raise InvalidArgumentError("this EACopy is closed; make a new one")
        return self._config
