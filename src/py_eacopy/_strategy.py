"""Picks the backend, runs a job in it, and decides which of its failures are raised."""

import contextlib
import functools
import inspect
import logging
import os
import threading
from typing import Dict, FrozenSet, Iterable, Iterator, Optional, Sequence, Union

import attr

from ._config import BACKENDS, Config, ErrorStrategy, active, checked
from ._control import Control, checked_control, logger, refuse_inside_callback
from ._errors import ConfigurationError, EACopyError, UnsupportedError, tree_error, use_bytes_paths
from ._job import DELTA_ALWAYS, CopyJob
from ._report import CopyReport
from .backends.base import Backend

_VARIABLE = "PY_EACOPY_BACKEND"


@attr.s(frozen=True, slots=True, auto_attribs=True)
class BackendInfo:
    """Which backend copies.

    Attributes:
        name: "native" or "portable".
        capabilities: what this build can do on this machine, such as "clone", "copy_file_range", "sparse" or "xattr".
        reason: why it is not the native one, although that was not ruled out; None when there is nothing to explain.
    """

    name: str
    capabilities: FrozenSet[str]
    reason: Optional[str] = None


def backend_info(*, config: Optional[Config] = None) -> BackendInfo:
    """Tells which backend copies under a Config.

    Args:
        config: default is the active one.

    Raises:
        UnsupportedError: "native" is asked for by name and is not there; the message says why.
        ConfigurationError: the environment's PY_EACOPY_BACKEND has a value that is not known.
    """
    backend = backend_for(active() if config is None else checked(config))
    asked = _asked(config if config is not None else active())
    reason = _why_not_native() if asked == "auto" else None
    return BackendInfo(backend.name, backend.capabilities(), reason)


def run(job: CopyJob, config: Config, control: Optional[Control] = None, *, as_bytes: bool = False) -> CopyReport:
    """Runs a job in the backend that the Config asks for, and raises what the job's error strategy says.

    Args:
        job: what to copy.
        config: names the backend, and the callback for a control that is not given.
        control: cancels and watches the job; default is a new one.
        as_bytes: the caller's paths are bytes, and so are to be those in errors.

    Raises:
        EACopyError: the failure, when it is a single one and that of a whole item.
        TreeError: all other failures.
    """
    refuse_inside_callback()
    with serving(control, config) as control:
        backend = backend_with(config, *_needs(job))
        control.log(logging.DEBUG, "copying with the %s backend: %s", backend.name, job.options)
        try:
            report = backend.run(job, control)
        except BaseException as error:
            if as_bytes and isinstance(error, EACopyError):
                use_bytes_paths(error)
            control.log(logging.INFO, "the copying was stopped: %r", error)
            raise
        _log_report(report, control)
    if as_bytes:
        for failure in report.errors:
            use_bytes_paths(failure)
    if report.errors and job.options.error_strategy != "ignore":
        single = len(report.errors) == 1 and report.errors[0].root
        failure = report.errors[0] if single else tree_error(report.errors)
        failure.report = report
        raise failure
    return report


def run_all(
    jobs: Iterable[CopyJob], config: Config, control: Optional[Control] = None, *, as_bytes: bool = False
) -> CopyReport:
    """Runs several jobs in turn as one call. What fails in one does not keep the others from running.

    Args and errors are those of :func:`run`, except that failures always come out together, as a TreeError.
    """
    refuse_inside_callback()
    report = CopyReport()
    with serving(control, config) as control:
        for job in jobs:
            backend = backend_with(config, *_needs(job))
            try:
                report = _sum(report, backend.run(job, control))
                control.carry_on()
            except BaseException as error:
                if as_bytes and isinstance(error, EACopyError):
                    use_bytes_paths(error)
                control.log(logging.INFO, "the copying was stopped: %r", error)
                raise
        report = attr.evolve(report, errors=tuple(control.errors), actions=tuple(control.actions))
        _log_report(report, control)
    if as_bytes:
        for failure in report.errors:
            use_bytes_paths(failure)
    if report.errors and config.error_strategy is not ErrorStrategy.IGNORE:
        failure = tree_error(report.errors)
        failure.report = report
        raise failure
    return report


def _sum(a: CopyReport, b: CopyReport) -> CopyReport:
    """Two reports as one, save errors and actions, which the control has."""
    methods = {name: a.methods.get(name, 0) + b.methods.get(name, 0) for name in {*a.methods, *b.methods}}
    numbers = {
        field.name: getattr(a, field.name) + getattr(b, field.name)
        for field in attr.fields(CopyReport)
        if isinstance(field.default, (int, float))
    }
    return attr.evolve(b, methods=methods, not_kept=(*a.not_kept, *b.not_kept), **numbers)


@contextlib.contextmanager
def serving(control: Optional[Control], config: Config) -> Iterator[Control]:
    """The control of a call, told what the Config says about progress, errors and the log.

    Raises:
        TypeError: it is no control, or nobody could await the Config's callback.
        InvalidArgumentError: it serves another call.
    """
    control = Control() if control is None else checked_control(control)
    progress = config.progress_callback if control.progress is None else control.progress
    if _is_coroutine_function(progress):
        raise TypeError(
            "the progress callback %r is a coroutine function, which nobody awaits here; only the async functions can"
            % progress
        )
    log_level = None if config is active() else config.log_level
    with control.serving(progress, config.error_strategy is ErrorStrategy.IGNORE, log_level):
        yield control


def _is_coroutine_function(function: object) -> bool:
    # Python 3.8 does not look through a partial of a method.
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function)


def _log_report(report: CopyReport, control: Control) -> None:
    control.log(
        logging.INFO,
        "copied %d files, %d bytes, in %.3f s with the %s backend (%s); %d further tries, %d errors",
        report.files_copied,
        report.bytes_copied,
        report.seconds,
        report.backend,
        ", ".join("%s: %d" % method for method in report.methods.items()),
        report.retries,
        len(report.errors),
    )


# Picking --------------------------------------------------------------------------------------------------------------

# By what is asked for: a legal name, the environment's text as os.environ holds it, or None for its absence.
_picked: Dict[Union[str, bytes, None], Backend] = {}
_lock = threading.Lock()


def backend_for(config: Config) -> Backend:
    """The backend that a Config, or else the environment, asks for."""
    asked: Union[str, bytes, None] = config.backend
    if asked is None:
        asked = _environment()
    try:
        return _picked[asked]
    except KeyError:
        return _pick(config, asked)


def backend_with(config: Config, *needed: str) -> Backend:
    """The backend that a Config asks for, if it has certain capabilities; else the portable one, if that is left open
    and has them.

    Raises:
        UnsupportedError: neither has them; the message says which is missing, and the remedy.
    """
    backend = backend_for(config)
    if not needed:
        return backend
    missing = [capability for capability in needed if capability not in backend.capabilities()]
    if missing and _asked(config) == "auto" and backend.name != "portable":
        backend = backend_for(config.evolve(backend="portable"))
        missing = [capability for capability in needed if capability not in backend.capabilities()]
    if missing:
        raise UnsupportedError(
            "the %s backend has no %s here; %s" % (backend.name, missing[0], _REMEDIES.get(missing[0], "take another"))
        )
    return backend


_REMEDIES = {
    "zstd": "install backports.zstd (zstandard for Python 3.8), or use neither compression_level nor delta",
    "client": 'take the backend "portable" or "auto"',
    "server": 'take the backend "portable" or "auto"',
    "delta": 'take the backend "portable" or "auto"',
    "sync": 'take the backend "portable" or "auto"',
}


def _needs(job: CopyJob) -> Sequence[str]:
    """The capabilities that a backend must have for a job, beyond those that both always have."""
    if job.remote is not None:
        zstd = job.remote.level > 0 or job.remote.delta == DELTA_ALWAYS
        return ("client", "zstd") if zstd else ("client",)
    if job.sync is not None:
        return ("sync",)
    if job.delta is not None:
        return ("delta",) if job.delta.action == "copy" else ("delta", "zstd")
    return ()


def _pick(config: Config, key: Union[str, bytes, None]) -> Backend:
    asked = _asked(config)
    if asked == "auto":
        name = "portable" if _why_not_native() else "native"
        if _why_not_native():
            logger.info("the portable backend copies, because the native one is not there: %s", _why_not_native())
    else:
        name = asked
    if name == "native" and _why_not_native():
        raise UnsupportedError(
            "the native backend was asked for and is not there: %s; build it with a C++ compiler "
            '(PY_EACOPY_BUILD=native pip install .), or take the backend "portable" or "auto"' % _why_not_native()
        )
    with _lock:
        backend = _picked.get(name)
        if backend is None:
            backend = _picked[name] = _make(name)
        _picked[key] = backend
    return backend


def _asked(config: Config) -> str:
    if config.backend is not None:
        return config.backend
    asked = os.environ.get(_VARIABLE) or "auto"
    if asked not in BACKENDS:
        raise ConfigurationError(
            "the environment has %s=%r, which is not known; legal values are: %s"
            % (_VARIABLE, asked, ", ".join(BACKENDS))
        )
    return asked


def _make(name: str) -> Backend:
    if name == "native":
        from .backends.native import NativeBackend

        return NativeBackend()
    from .backends.portable import PortableBackend

    return PortableBackend()


@functools.lru_cache(maxsize=None)
def _why_not_native() -> Optional[str]:
    """The text of the error with which the native backend cannot be imported; None when it can."""
    try:
        from .backends import native  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


def _environment() -> Union[str, bytes, None]:
    # os.environ.get() takes longer than all else that is done in Python for a small file, because it encodes the name
    # and raises and catches a KeyError. The dict behind it has been there in every CPython from 3.8 to 3.14.
    try:
        raw: Union[str, bytes, None] = os.environ._data.get(_KEY)  # type: ignore[attr-defined]
    except AttributeError:
        return os.environ.get(_VARIABLE)
    return raw


_KEY = os.environ.encodekey(_VARIABLE) if hasattr(os.environ, "encodekey") else _VARIABLE
