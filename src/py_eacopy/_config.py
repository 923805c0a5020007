"""The settings: what they may be, which of them are in force, and what a job is told of them."""

import contextlib
import enum
import math
import os
from contextvars import ContextVar
from typing import Any, Callable, Dict, Iterator, Mapping, NoReturn, Optional, Tuple, Type, Union

import attr

from ._control import ProgressCallback, logger
from ._errors import ConfigurationError
from ._job import REFLINK, CopyOptions

#: What ``Config.backend`` and the environment variable PY_EACOPY_BACKEND may be.
BACKENDS = ("auto", "native", "portable")


class ErrorStrategy(enum.Enum):
    """What a failing file does to the rest.

    RAISE raises its exception; a tree copies what it can first, and raises all failures in one ``shutil.Error``.
    RETRY tries the file ``retry_count`` more times, ``retry_delay`` seconds apart, and then does as RAISE.
    IGNORE logs a warning and goes on.
    """

    RAISE = "raise"
    RETRY = "retry"
    IGNORE = "ignore"


class LogLevel(enum.IntEnum):
    """The least level that the logger "py_eacopy" lets through. The values are those of :mod:`logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


class Default(enum.Enum):
    """Stands for an argument that was left out, and takes its value from the Config."""

    FROM_CONFIG = "the Config's value"

    def __repr__(self) -> str:
        return "<%s>" % self.value


DEFAULT = Default.FROM_CONFIG


# Checks of single fields. A converter lets through what it does not know, and the validator names it. -----------------

_Validator = Callable[[Any, "attr.Attribute[Any]", Any], None]


def _refuse(name: str, value: object, legal: str) -> NoReturn:
    raise ConfigurationError("%s=%r is not legal: it must be %s" % (name, value, legal))


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _integer(least: int, most: int) -> _Validator:
    def validate(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
        if not _is_integer(value, least, most):
            _refuse(field.name, value, "an int from %d to %d" % (least, most))

    return validate


def _bandwidth(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
    if value is not None and not _is_integer(value, 1024, 2**40):
        _refuse(field.name, value, "None (no limit), or an int of bytes a second from 1024 to %d" % 2**40)


def _compression_level(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
    if value != "auto" and not _is_integer(value, 0, 22):
        _refuse(field.name, value, 'an int from 0 (none) to 22, or "auto"')


def _seconds(most: int) -> _Validator:
    def validate(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= most:
            _refuse(field.name, value, "a number of seconds from 0 to %d" % most)

    return validate


def _boolean(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, bool):
        _refuse(field.name, value, "True or False")


def _one_of(*values: Optional[str]) -> _Validator:
    def validate(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
        if not (value is None or isinstance(value, str)) or value not in values:
            _refuse(field.name, value, "one of " + ", ".join(map(repr, values)))

    return validate


def _member(members: Type[enum.Enum]) -> _Validator:
    def validate(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
        if not isinstance(value, members):
            names = ", ".join(members.__members__)
            _refuse(field.name, value, "a member of %s, or the name of one: %s" % (members.__name__, names))

    return validate


def _callback(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
    if value is not None and not callable(value):
        _refuse(field.name, value, "None, or a function of (copied_bytes, total_bytes, filename)")


def _prefixes(_: Any, field: "attr.Attribute[Any]", value: Any) -> None:
    whole = isinstance(value, dict)
    if not whole or not all(isinstance(p, str) and p and "\0" not in p for p in (*value, *value.values())):
        _refuse(field.name, value, "a mapping of path prefixes to path prefixes, as str, neither empty nor with NUL")


def _to_strategy(value: Any) -> ErrorStrategy:
    found = ErrorStrategy.__members__.get(value.upper()) if isinstance(value, str) else None
    return value if found is None else found


def _to_level(value: Any) -> LogLevel:
    found = LogLevel.__members__.get(value.upper()) if isinstance(value, str) else None
    return value if found is None else found


def _to_prefixes(value: Any) -> Mapping[str, str]:
    def plain(prefix: Any) -> Any:
        return os.fspath(prefix) if isinstance(prefix, os.PathLike) else prefix

    return {plain(key): plain(value[key]) for key in value} if isinstance(value, Mapping) else value


def _assigned(config: "Config", field: "attr.Attribute[Any]", value: Any) -> Any:
    """Runs at every assignment, after conversion and validation."""
    # The value is set here, before what was derived from the old one is dropped: another thread that derives anew
    # in between must find the new one. attrs then sets it once more.
    object.__setattr__(config, field.name, value)
    config._derived = {}
    if field.name == "log_level" and config is active():
        apply_log_level(config)
    return value


@attr.s(
    slots=True,
    auto_attribs=True,
    kw_only=True,
    on_setattr=[attr.setters.convert, attr.setters.validate, _assigned],
)
class Config:
    """How to copy. Every field is checked, when it is assigned later too; a bad value is a ConfigurationError.

    Attributes:
        thread_count: threads that copy a tree, a batch or one large file; 1 to 1024.
        compression_level: for what goes over a wire: 0 none, 1 to 22 zstd's levels, "auto" adapts to the wire.
        buffer_size: most bytes that one read or write moves; 4 KiB to 1 GiB.
        error_strategy: an :class:`ErrorStrategy`, or its name.
        retry_count: further tries of a failing file under RETRY.
        retry_delay: seconds between two tries; up to a day.
        log_level: a :class:`LogLevel`, or its name: the least level that is written to the logger "py_eacopy". That of
            the active Config is the logger's own, and so one for the whole process. A Config that is given to a call,
            and that of an :class:`EACopy`, decides for its own calls alone.
        preserve_metadata: trees that are copied without a ``copy_function``: True copies as copy2 does, False as copy.
        follow_symlinks: where shutil has no say: False copies links as links, True what they point to.
        dirs_exist_ok: trees: directories of the destination may exist.
        progress_callback: called as ``callback(copied_bytes, total_bytes, filename)`` for each file, in the calling
            thread: first (0, total), at most about 20 times a second in between, last (total, total). When it raises,
            the copy stops, and its exception comes out.
        backend: "auto", "native" or "portable"; None takes the environment's PY_EACOPY_BACKEND, or "auto".
        reflink: "auto" clones where the file system can, "always" fails where it cannot, "never" moves the bytes.
        atomic: write a temporary sibling and rename it, so that a crash leaves the old file or the new one.
        fsync: make each copy durable before it counts as done.
        verify: read source and copy again, and compare.
        bandwidth_limit: bytes a second that all threads of one call together write, or send and receive through a
            server, 1024 or more; None: as fast as it goes. Reflinks and hard links move no bytes, and are not limited.
        path_map: prefixes of paths that have another name on the other side, and that name.
    """

    thread_count: int = attr.ib(default=4, validator=_integer(1, 1024))
    compression_level: Union[int, str] = attr.ib(default=0, validator=_compression_level)
    buffer_size: int = attr.ib(default=8 * 1024 * 1024, validator=_integer(4096, 2**30))
    error_strategy: ErrorStrategy = attr.ib(
        default=ErrorStrategy.RAISE, converter=_to_strategy, validator=_member(ErrorStrategy)
    )
    retry_count: int = attr.ib(default=3, validator=_integer(0, 1_000_000))
    retry_delay: float = attr.ib(default=1.0, validator=_seconds(86400))
    log_level: LogLevel = attr.ib(default=LogLevel.WARNING, converter=_to_level, validator=_member(LogLevel))
    preserve_metadata: bool = attr.ib(default=True, validator=_boolean)
    follow_symlinks: bool = attr.ib(default=False, validator=_boolean)
    dirs_exist_ok: bool = attr.ib(default=False, validator=_boolean)
    progress_callback: Optional[ProgressCallback] = attr.ib(default=None, validator=_callback)
    backend: Optional[str] = attr.ib(default=None, validator=_one_of(*BACKENDS, None))
    reflink: str = attr.ib(default="auto", validator=_one_of(*REFLINK))
    atomic: bool = attr.ib(default=False, validator=_boolean)
    fsync: bool = attr.ib(default=False, validator=_boolean)
    verify: bool = attr.ib(default=False, validator=_boolean)
    bandwidth_limit: Optional[int] = attr.ib(default=None, validator=_bandwidth)
    path_map: Mapping[str, str] = attr.ib(factory=dict, converter=_to_prefixes, validator=_prefixes)

    # The CopyOptions of each kind of call, so that copying a small file need not make them anew.
    _derived: Dict[Tuple[object, ...], CopyOptions] = attr.ib(
        factory=dict, init=False, eq=False, repr=False, on_setattr=attr.setters.NO_OP
    )

    def evolve(self, **changes: Any) -> "Config":
        """A copy with some fields changed.

        Raises:
            ConfigurationError: a value is not legal.
            TypeError: there is no such field.
        """
        return attr.evolve(self, **changes)

    def with_thread_count(self, value: int) -> "Config":
        """A copy with another ``thread_count``."""
        return self.evolve(thread_count=value)

    def with_compression_level(self, value: Union[int, str]) -> "Config":
        """A copy with another ``compression_level``."""
        return self.evolve(compression_level=value)

    def with_buffer_size(self, value: int) -> "Config":
        """A copy with another ``buffer_size``, in bytes."""
        return self.evolve(buffer_size=value)

    def with_error_strategy(self, value: Union[ErrorStrategy, str]) -> "Config":
        """A copy with another ``error_strategy``."""
        return self.evolve(error_strategy=value)

    def with_retry_count(self, value: int) -> "Config":
        """A copy with another ``retry_count``."""
        return self.evolve(retry_count=value)

    def with_retry_delay(self, value: float) -> "Config":
        """A copy with another ``retry_delay``, in seconds."""
        return self.evolve(retry_delay=value)

    def with_log_level(self, value: Union[LogLevel, str]) -> "Config":
        """A copy with another ``log_level``."""
        return self.evolve(log_level=value)

    def with_preserve_metadata(self, value: bool) -> "Config":
        """A copy with another ``preserve_metadata``."""
        return self.evolve(preserve_metadata=value)

    def with_follow_symlinks(self, value: bool) -> "Config":
        """A copy with another ``follow_symlinks``."""
        return self.evolve(follow_symlinks=value)

    def with_dirs_exist_ok(self, value: bool) -> "Config":
        """A copy with another ``dirs_exist_ok``."""
        return self.evolve(dirs_exist_ok=value)

    def with_progress_callback(self, value: Optional[ProgressCallback]) -> "Config":
        """A copy with another ``progress_callback``."""
        return self.evolve(progress_callback=value)

    def with_backend(self, value: Optional[str]) -> "Config":
        """A copy with another ``backend``."""
        return self.evolve(backend=value)

    def with_reflink(self, value: str) -> "Config":
        """A copy with another ``reflink``."""
        return self.evolve(reflink=value)

    def with_atomic(self, value: bool) -> "Config":
        """A copy with another ``atomic``."""
        return self.evolve(atomic=value)

    def with_fsync(self, value: bool) -> "Config":
        """A copy with another ``fsync``."""
        return self.evolve(fsync=value)

    def with_verify(self, value: bool) -> "Config":
        """A copy with another ``verify``."""
        return self.evolve(verify=value)

    def with_bandwidth_limit(self, value: Optional[int]) -> "Config":
        """A copy with another ``bandwidth_limit``, in bytes a second."""
        return self.evolve(bandwidth_limit=value)

    def with_path_map(self, value: Mapping[str, str]) -> "Config":
        """A copy with another ``path_map``."""
        return self.evolve(path_map=value)


# What is in force -----------------------------------------------------------------------------------------------------

_global = Config()
_temporary: "ContextVar[Optional[Config]]" = ContextVar("py_eacopy.config", default=None)


def active() -> Config:
    """The Config in force here: the innermost temporary one of this thread or task, else the global one."""
    config = _temporary.get()
    return _global if config is None else config


def checked(config: object) -> Config:
    """What was given for a Config, if it is one."""
    if not isinstance(config, Config):
        raise TypeError("config must be a py_eacopy.Config, not %s" % type(config).__name__)
    return config


def replace_active(config: object) -> None:
    """Puts another Config in the place of the active one."""
    global _global
    config = checked(config)
    if _temporary.get() is None:
        _global = config
    else:
        _temporary.set(config)
    apply_log_level(config)


@contextlib.contextmanager
def temporary_config(config: Optional[Config] = None, **changes: Any) -> Iterator[Config]:
    """Makes another Config the active one for the length of a ``with`` block, and hands it out.

    It is in force in the thread or task that enters the block, and in the tasks begun there; no other thread or task
    sees it. Only the log level, when it is changed, is that of the whole process.

    Args:
        config: what to start from; default is the active one.
        changes: fields to change, as for :meth:`Config.evolve`.

    Raises:
        ConfigurationError: a value is not legal.
        TypeError: ``config`` is none, or there is no such field.
    """
    outer = active()
    inner = outer if config is None else checked(config)
    if changes or config is None:
        inner = inner.evolve(**changes)
    token = _temporary.set(inner)
    if inner.log_level != outer.log_level:
        apply_log_level(inner)
    try:
        yield inner
    finally:
        ended = active()
        _temporary.reset(token)
        if ended.log_level != active().log_level:
            apply_log_level(active())


def apply_log_level(config: Config) -> None:
    """Lets the logger through what the Config says."""
    logger.setLevel(int(config.log_level))


def options_for(
    config: Config,
    metadata: str,
    follow_symlinks: bool,
    ignore_dangling_symlinks: bool = False,
    dirs_exist_ok: bool = False,
) -> CopyOptions:
    """What a job is told of a Config; ``metadata`` and the rest are what the call itself decides."""
    derived = config._derived  # taken first: when a field is assigned meanwhile, the result goes where nobody looks
    key = (metadata, follow_symlinks, ignore_dangling_symlinks, dirs_exist_ok)
    options = derived.get(key)
    if options is None:
        options = derived[key] = CopyOptions(
            metadata=metadata,
            follow_symlinks=follow_symlinks,
            ignore_dangling_symlinks=ignore_dangling_symlinks,
            dirs_exist_ok=dirs_exist_ok,
            thread_count=config.thread_count,
            buffer_size=config.buffer_size,
            reflink=config.reflink,
            atomic=config.atomic,
            fsync=config.fsync,
            verify=config.verify,
            error_strategy=config.error_strategy.value,
            retry_count=config.retry_count,
            retry_delay=float(config.retry_delay),
            bandwidth_limit=config.bandwidth_limit,
        )
    return options


if logger.level == 0:  # the application has not set one before
    apply_log_level(_global)
