"""The asynchronous functions: each is the blocking one of the same name, run in a worker thread and cancellable.

They work on asyncio and on trio. anyio is imported when the first of them is called, not with the package.
"""

from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, overload

from . import _api, _batch, _delta, _remote, _sync, _tree
from ._batch import Pairs
from ._config import DEFAULT, Config, Default, active, checked
from ._control import Control
from ._location import PORT
from ._paths import BytesPath, StrOrBytesPath, StrPath
from ._remote import TIMEOUT
from ._report import CopyReport
from ._tree import CopyFunction, Ignore

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")
_Path = TypeVar("_Path", bound=StrOrBytesPath)
_Str = TypeVar("_Str", bound=StrPath)
_Bytes = TypeVar("_Bytes", bound=BytesPath)


async def async_copyfile(
    src: StrOrBytesPath,
    dst: _Path,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> _Path:
    """Awaitable :func:`copyfile`: same arguments, result and errors.

    A progress callback is called in the event loop, and awaited when it is a coroutine function. It hears of the first
    and the last state of each file, and of those in between as far as it keeps up.

    Cancellation: the copy stops within 100 ms, in the middle of a large file too. A file that it created is removed;
    one that it was overwriting is left partly overwritten, unless the Config has ``atomic=True``. The call returns only
    when the copying thread has ended, and raises the event loop's own exception. ``control.cancel()`` stops it as well,
    and then it raises :class:`CopyInterruptedError`.
    """
    return await awaited(_api.copyfile, config, control, src, dst, follow_symlinks=follow_symlinks)


@overload
async def async_copy(
    src: StrPath,
    dst: _Str,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Str, str]: ...


@overload
async def async_copy(
    src: BytesPath,
    dst: _Bytes,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Bytes, bytes]: ...


async def async_copy(
    src: Any,
    dst: Any,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Any:
    """Awaitable :func:`copy`: same arguments, result and errors.

    Progress and cancellation: as for :func:`async_copyfile`.
    """
    return await awaited(_api.copy, config, control, src, dst, follow_symlinks=follow_symlinks)


@overload
async def async_copy2(
    src: StrPath,
    dst: _Str,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Str, str]: ...


@overload
async def async_copy2(
    src: BytesPath,
    dst: _Bytes,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Bytes, bytes]: ...


async def async_copy2(
    src: Any,
    dst: Any,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Any:
    """Awaitable :func:`copy2`: same arguments, result and errors.

    Progress and cancellation: as for :func:`async_copyfile`.
    """
    return await awaited(_api.copy2, config, control, src, dst, follow_symlinks=follow_symlinks)


async def async_copytree(
    src: StrOrBytesPath,
    dst: _Path,
    symlinks: bool = False,
    ignore: Optional[Ignore] = None,
    copy_function: Union[CopyFunction, Default] = DEFAULT,
    ignore_dangling_symlinks: bool = False,
    dirs_exist_ok: Union[bool, Default] = DEFAULT,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> _Path:
    """Awaitable :func:`copytree`: same arguments, result and errors. ``ignore`` and ``copy_function`` are called in the
    worker thread, a progress callback as by :func:`async_copyfile`.

    Cancellation: all threads of the copy stop within 100 ms. What was complete stays, as do the directories; no partial
    file does. The call returns only when they have ended, and raises the event loop's own exception.
    """
    options = (symlinks, ignore, copy_function, ignore_dangling_symlinks, dirs_exist_ok)
    return await awaited(_tree.copytree, config, control, src, dst, *options)


async def async_batch_copy(
    pairs: Pairs, *, config: Optional[Config] = None, control: Optional[Control] = None
) -> CopyReport:
    """Awaitable :func:`batch_copy`: same arguments, result and errors. ``pairs`` is iterated in the worker thread.

    Progress and cancellation: as for :func:`async_copytree`.
    """
    return await awaited(_batch.batch_copy, config, control, pairs)


async def async_batch_copy2(
    pairs: Pairs, *, config: Optional[Config] = None, control: Optional[Control] = None
) -> CopyReport:
    """Awaitable :func:`batch_copy2`: same arguments, result and errors. ``pairs`` is iterated in the worker thread.

    Progress and cancellation: as for :func:`async_copytree`.
    """
    return await awaited(_batch.batch_copy2, config, control, pairs)


async def async_batch_copytree(
    pairs: Pairs,
    symlinks: Union[bool, Default] = DEFAULT,
    ignore_dangling_symlinks: bool = False,
    dirs_exist_ok: Union[bool, Default] = DEFAULT,
    *,
    ignore: Optional[Ignore] = None,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Awaitable :func:`batch_copytree`: same arguments, result and errors. ``pairs`` is iterated,
    and ``ignore`` called, in the worker thread.

    Progress and cancellation: as for :func:`async_copytree`.
    """
    options = (symlinks, ignore_dangling_symlinks, dirs_exist_ok)
    return await awaited(_batch.batch_copytree, config, control, pairs, *options, ignore=ignore)


async def async_copy_with_server(
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
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Awaitable :func:`copy_with_server`: same arguments, result and errors. ``ignore`` is called in the worker
    thread.

    Progress and cancellation: as for :func:`async_copytree`; the connections to the server are closed, and it removes
    what it has half.
    """
    return await awaited(
        _remote.copy_with_server,
        config,
        control,
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
    )


async def async_sync(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
    **options: "Unpack[_sync.SyncOptions]",
) -> CopyReport:
    """Awaitable :func:`sync`: same arguments, result and errors.

    Progress and cancellation: as for :func:`async_copyfile`. Every file is complete then, or as it was. A control's
    ``action`` is called in the worker thread.
    """
    return await awaited(_sync.sync, config, control, src, dst, **options)


async def async_delta_copy(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    reference: StrOrBytesPath,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Awaitable :func:`delta_copy`: same arguments, result and errors.

    Progress and cancellation: as for :func:`async_copyfile`.
    """
    return await awaited(_delta.delta_copy, config, control, src, dst, reference)


async def async_create_delta(
    src: StrOrBytesPath,
    reference: StrOrBytesPath,
    patch: StrOrBytesPath,
    compression_level: int = 3,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Awaitable :func:`create_delta`: same arguments, result and errors.

    Progress and cancellation: as for :func:`async_copyfile`; no patch is left.
    """
    return await awaited(_delta.create_delta, config, control, src, reference, patch, compression_level)


async def async_apply_delta(
    reference: StrOrBytesPath,
    patch: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    allow_unchecked: bool = False,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Awaitable :func:`apply_delta`: same arguments, result and errors.

    Progress and cancellation: as for :func:`async_copyfile`; the destination stays as it was.
    """
    arguments = (reference, patch, dst)
    return await awaited(_delta.apply_delta, config, control, *arguments, allow_unchecked=allow_unchecked)


async def awaited(
    function: Callable[..., T], config: Optional[Config], control: Optional[Control], *args: Any, **keywords: Any
) -> T:
    """Runs one of the blocking functions for the event loop, with the caller's progress callback called in the loop."""
    from ._event_loop import run_in_thread

    # Looked up here: what is active in this task need not be in the worker thread.
    config = active() if config is None else checked(config)
    return await run_in_thread(
        lambda inner: function(*args, config=config, control=inner, **keywords), config.progress_callback, control
    )
