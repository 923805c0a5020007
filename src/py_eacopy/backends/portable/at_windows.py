"""The functions of :mod:`os` that take a `dir_fd`, for Windows; see at.py.

Only the native calls look a name up in an open directory. Files and directories are descriptors of the C library here
too, so that :func:`os.fstat`, :func:`os.read` and :func:`os.close` work on them.
"""

import ctypes
import errno
import msvcrt
import os
import shutil
import stat as modes
import struct
import sys
import time
from ctypes import wintypes
from typing import Any, AnyStr, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type, Union

from . import system

assert sys.platform == "win32"

Name = Union[str, bytes]

# Bits that os.open does not know.
O_NOFOLLOW = 1 << 24
O_PATH = 1 << 25
_O_DIRECTORY = 1 << 26
O_SECRET = 1 << 27
READ_FLAGS = system.READ_FLAGS
CREATE_FLAGS = system.CREATE_FLAGS
DIRECTORY_FLAGS = system.DIRECTORY_FLAGS | _O_DIRECTORY

_ntdll = ctypes.WinDLL("ntdll")
_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)

# Access.
_READ_DATA, _WRITE_DATA, _TRAVERSE, _READ_ATTRIBUTES, _WRITE_ATTRIBUTES = 0x1, 0x2, 0x20, 0x80, 0x100
_DELETE, _SYNCHRONIZE = 0x10000, 0x100000
# What others may do meanwhile.
_SHARE_READ, _SHARE_DELETE, _SHARE_ALL = 0x1, 0x4, 0x7
# Dispositions and options of NtCreateFile.
_OPEN, _CREATE = 1, 2
_DIRECTORY_FILE, _SYNCHRONOUS, _NON_DIRECTORY_FILE, _OPEN_REPARSE_POINT = 0x1, 0x20, 0x40, 0x200000
_OBJ_CASE_INSENSITIVE = 0x40
# Classes of information: of the native calls, and of the documented ones.
_RENAME, _LINK, _DISPOSITION, _DISPOSITION_EX, _RENAME_EX = 10, 11, 13, 64, 65
_BASIC_INFO, _END_OF_FILE_INFO, _ATTRIBUTE_TAG_INFO, _DIRECTORY_INFO, _DIRECTORY_RESTART_INFO = 0, 6, 9, 14, 15
# Flags of renaming and removing; see FILE_RENAME_INFORMATION and FILE_DISPOSITION_INFORMATION_EX.
_REPLACE, _POSIX, _READ_ONLY_TOO, _REMOVE, _REMOVE_READ_ONLY = 0x1, 0x2, 0x40, 0x1, 0x10

_READ_ONLY, _DIRECTORY, _NORMAL, _REPARSE_POINT = 0x1, 0x10, 0x80, 0x400
#: The bit of a reparse tag that says "stands for another name": symbolic links, junctions, mount points.
_NAME_SURROGATE = 0x20000000
_TAG_JUNCTION, _TAG_SYMLINK = 0xA0000003, 0xA000000C
_GET_REPARSE_POINT = 0x900A8

_ACCESS_DENIED, _SHARING_VIOLATION, _DELETE_PENDING = 0xC0000022, 0xC0000043, 0xC0000056
_CANNOT_DELETE = 0xC0000121
#: What file systems answer that do not know a request: before Windows 10 1607, FAT, networks.
_UNKNOWN_REQUEST = frozenset({0xC0000002, 0xC0000003, 0xC000000D, 0xC0000010, 0xC00000BB})
# Statuses and codes of which Python's own translation says less, or something else than the engine.
_OF_STATUS = {
    0xC0000056: errno.EBUSY,
    0xC00000BA: errno.EISDIR,
    0xC0000103: errno.ENOTDIR,
    0xC0000280: errno.ELOOP,
}
_OF_CODE = {
    code: number
    for number, codes in (
        # Somebody has it open: permission is not what is missing, and another try may succeed.
        (errno.EBUSY, (32, 33, 36, 148, 170, 303, 1224)),
        (errno.ENOSPC, (39, 112, 1295, 1816)),
        (errno.EFBIG, (223,)),
        (errno.ENAMETOOLONG, (111, 206)),
        (errno.ENOTDIR, (267,)),
        (errno.EROFS, (19,)),
        (errno.EPERM, (1314,)),
        (errno.ELOOP, (1921,)),
        (errno.EMLINK, (1142,)),
        (errno.EILSEQ, (1113,)),
        (errno.EINVAL, (6, 87, 123, 131, 4390, 4392)),
        (errno.ENOTSUP, (1, 50, 120, 124, 1630)),
        (errno.ENOMEM, (1450, 1451, 1452, 1453, 1455)),
        (errno.ENXIO, (20, 21, 55, 433, 1110, 1167, 1617)),
        # A server that is gone: that nothing is there could be taken for "removed".
        (errno.EHOSTUNREACH, (51, 53, 67, 1232, 1256)),
        (errno.ENETUNREACH, (1222, 1231)),
        (errno.ECONNRESET, (57, 58, 59, 64, 240, 1226, 1234)),
        (errno.ETIMEDOUT, (121, 1460)),
    )
    for code in codes
}

_EPOCH = 116_444_736_000_000_000  # 1970, in 100 ns since 1601
#: Everything for the owner, and nothing for others, whatever the directory hands down.
_PRIVATE = "D:P(A;;FA;;;OW)"


class _UnicodeString(ctypes.Structure):
    _fields_ = [("length", wintypes.USHORT), ("room", wintypes.USHORT), ("text", ctypes.c_void_p)]


class _ObjectAttributes(ctypes.Structure):
    _fields_ = [
        ("length", wintypes.ULONG),
        ("root", wintypes.HANDLE),
        ("name", ctypes.POINTER(_UnicodeString)),
        ("attributes", wintypes.ULONG),
        ("security", ctypes.c_void_p),
        ("quality", ctypes.c_void_p),
    ]


class _IoStatus(ctypes.Structure):
    _fields_ = [("status", ctypes.c_void_p), ("information", ctypes.c_void_p)]


class _BasicInfo(ctypes.Structure):
    _fields_ = [
        ("created", ctypes.c_int64),
        ("accessed", ctypes.c_int64),
        ("modified", ctypes.c_int64),
        ("changed", ctypes.c_int64),
        ("attributes", wintypes.DWORD),
    ]


class _AttributeTag(ctypes.Structure):
    _fields_ = [("attributes", wintypes.DWORD), ("tag", wintypes.DWORD)]


def _declare(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function


_Void, _Dword = ctypes.c_void_p, wintypes.DWORD
_nt_create_file = _declare(
    _ntdll.NtCreateFile,
    wintypes.ULONG,
    ctypes.POINTER(wintypes.HANDLE),
    wintypes.ULONG,
    ctypes.POINTER(_ObjectAttributes),
    ctypes.POINTER(_IoStatus),
    _Void,
    wintypes.ULONG,
    wintypes.ULONG,
    wintypes.ULONG,
    wintypes.ULONG,
    _Void,
    wintypes.ULONG,
)
_nt_set_information = _declare(
    _ntdll.NtSetInformationFile,
    wintypes.ULONG,
    wintypes.HANDLE,
    ctypes.POINTER(_IoStatus),
    _Void,
    wintypes.ULONG,
    ctypes.c_int,
)
_code_of_status = _declare(_ntdll.RtlNtStatusToDosError, wintypes.ULONG, wintypes.ULONG)
_create_file = _declare(
    _kernel32.CreateFileW, wintypes.HANDLE, wintypes.LPCWSTR, _Dword, _Dword, _Void, _Dword, _Dword, _Void
)
_close_handle = _declare(_kernel32.CloseHandle, wintypes.BOOL, wintypes.HANDLE)
_get_information = _declare(
    _kernel32.GetFileInformationByHandleEx, wintypes.BOOL, wintypes.HANDLE, ctypes.c_int, _Void, _Dword
)
_set_information = _declare(
    _kernel32.SetFileInformationByHandle, wintypes.BOOL, wintypes.HANDLE, ctypes.c_int, _Void, _Dword
)
_get_final_path = _declare(
    _kernel32.GetFinalPathNameByHandleW, _Dword, wintypes.HANDLE, wintypes.LPWSTR, _Dword, _Dword
)
_device_control = _declare(
    _kernel32.DeviceIoControl,
    wintypes.BOOL,
    wintypes.HANDLE,
    _Dword,
    _Void,
    _Dword,
    _Void,
    _Dword,
    ctypes.POINTER(_Dword),
    _Void,
)
_flush = _declare(_kernel32.FlushFileBuffers, wintypes.BOOL, wintypes.HANDLE)
_local_free = _declare(_kernel32.LocalFree, _Void, _Void)
_make_descriptor = _declare(
    _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW,
    wintypes.BOOL,
    wintypes.LPCWSTR,
    _Dword,
    ctypes.POINTER(_Void),
    _Void,
)
_INVALID = wintypes.HANDLE(-1).value


# Names ---------------------------------------------------------------------------------------------------------------

_NOT_IN_NAMES = frozenset('"*/:<>?\\|') | frozenset(map(chr, range(32)))
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [device + digit for device in ("COM", "LPT") for digit in "123456789\u00b9\u00b2\u00b3"]
)


def is_possible_name(name: bytes) -> bool:
    """Whether a file can have this name on this system: it is no device, no stream of another file, and no path."""
    try:
        text = name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    if not text or not _NOT_IN_NAMES.isdisjoint(text) or text[-1] in ". ":  # most of Windows takes these away
        return False
    return text.partition(".")[0].rstrip(" ").upper() not in _DEVICES


def _checked(name: Name) -> str:
    """A single name, as it is looked up; "" for the directory itself. Raises OSError for what would lead elsewhere."""
    try:
        text = os.fsdecode(name)
    except UnicodeDecodeError:
        raise _error(errno.EILSEQ) from None
    if text == ".":
        return ""
    if not text:
        raise _error(errno.ENOENT)
    if text == ".." or not _NOT_IN_NAMES.isdisjoint(text):
        raise _error(errno.EINVAL)
    if len(text) > 255:
        raise _error(errno.ENAMETOOLONG)
    return text


# Errors --------------------------------------------------------------------------------------------------------------


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _of_code(code: int) -> OSError:
    number = _OF_CODE.get(code)
    if number is None:
        number = OSError(0, "", None, code).errno or errno.EIO
        number = errno.EIO if number == errno.EINVAL else number  # which is what it says of those that it does not know
    return _error(number)


def _last_error() -> OSError:
    return _of_code(ctypes.get_last_error())


def _failed(status: int) -> bool:
    return status >= 0x80000000


def _of_status(status: int) -> OSError:
    number = _OF_STATUS.get(status)
    return _of_code(_code_of_status(status)) if number is None else _error(number)


def _patiently(denied_too: bool, call: Callable[[], int]) -> int:
    """Calls again, for an eighth of a second at most, what failed because somebody else has the file open just now."""
    status = call()
    pause = 0.001
    while pause < 0.1 and (
        status in (_SHARING_VIOLATION, _DELETE_PENDING) or (denied_too and status == _ACCESS_DENIED)
    ):
        time.sleep(pause)
        pause *= 2
        status = call()
    return status


# Handles -------------------------------------------------------------------------------------------------------------


class _Handle:
    """A handle that is closed when the context ends, unless it was released."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __enter__(self) -> "_Handle":
        return self

    def __exit__(self, *_: object) -> None:
        if self.value:
            _close_handle(self.value)

    def to_descriptor(self) -> int:
        descriptor = msvcrt.open_osfhandle(self.value, os.O_NOINHERIT)
        self.value = 0
        return descriptor


def _open_at(
    root: int,
    name: str,
    access: int,
    options: int,
    *,
    share: int = _SHARE_ALL,
    disposition: int = _OPEN,
    denied_may_pass: bool = False,
    private: bool = False,
) -> _Handle:
    """Opens a checked name in a directory whose handle this is; "": that itself."""
    data = name.encode("utf-16-le", "surrogatepass")
    buffer = ctypes.create_string_buffer(data, max(len(data), 1))
    text = _UnicodeString(len(data), len(data), ctypes.addressof(buffer))
    # Directories that tell upper from lower case do so whatever is asked for here.
    attributes = _ObjectAttributes(
        ctypes.sizeof(_ObjectAttributes), root, ctypes.pointer(text), _OBJ_CASE_INSENSITIVE, None, None
    )
    handle, io = wintypes.HANDLE(), _IoStatus()
    security = _Void()
    if private:
        if not _make_descriptor(_PRIVATE, 1, ctypes.byref(security), None):
            raise _last_error()
        attributes.security = security.value
    try:
        status = _patiently(
            denied_may_pass,
            lambda: int(
                _nt_create_file(
                    ctypes.byref(handle),
                    access | _SYNCHRONIZE,
                    ctypes.byref(attributes),
                    ctypes.byref(io),
                    None,
                    _NORMAL,
                    share,
                    disposition,
                    options | _SYNCHRONOUS,
                    None,
                    0,
                )
            ),
        )
    finally:
        if private:
            _local_free(security)
    if _failed(status):
        raise _of_status(status)
    return _Handle(handle.value or 0)


def _tag(handle: int) -> int:
    """The reparse tag; 0 for what is no reparse point."""
    info = _AttributeTag()
    if not _get_information(handle, _ATTRIBUTE_TAG_INFO, ctypes.byref(info), ctypes.sizeof(info)):
        raise _last_error()
    return int(info.tag) if info.attributes & _REPARSE_POINT else 0


def _open_itself(root: int, name: str, access: int, options: int) -> _Handle:
    """Opens what has the name. A link, or what is one in effect, is ELOOP."""
    handle = _open_at(root, name, access, options | _OPEN_REPARSE_POINT)
    try:
        tag = _tag(handle.value)
        if not tag:
            return handle
        if tag & _NAME_SURROGATE:
            raise _error(errno.ELOOP)
        # Compressed, deduplicated, or in the cloud: only what opens it in the ordinary way gets at its data.
        whole = _open_at(root, name, access, options)
        if _identity(whole.value) != _identity(handle.value):
            whole.__exit__()
            raise _error(errno.ELOOP)
    except BaseException:
        handle.__exit__()
        raise
    handle.__exit__()
    return whole


def _identity(handle: int) -> Tuple[int, int]:
    info = (_Dword * 13)()  # BY_HANDLE_FILE_INFORMATION
    if not _get_by_handle(handle, ctypes.byref(info)):
        raise _last_error()
    return info[7], info[11] << 32 | info[12]


_get_by_handle = _declare(_kernel32.GetFileInformationByHandle, wintypes.BOOL, wintypes.HANDLE, _Void)


def _root(directory: int) -> int:
    return msvcrt.get_osfhandle(directory)


def _path(handle: int) -> str:
    """The path by which an open file or directory is reached now."""
    size = 512
    while True:
        buffer = ctypes.create_unicode_buffer(size)
        length = _get_final_path(handle, buffer, size, 0)
        if not length:
            raise _last_error()
        if length < size:
            return buffer.value
        size = length + 1


# The functions of os -------------------------------------------------------------------------------------------------


def open(path: Name, flags: int, _mode: int = 0o777, *, dir_fd: Optional[int] = None) -> int:
    """As :func:`os.open`, for reading, and for creating. O_SECRET keeps others out, and no mode does."""
    if dir_fd is None:
        return _open_path(os.fsdecode(path), flags)
    root, name = _root(dir_fd), _checked(path)
    if flags & os.O_CREAT:
        # Others may look, rename and remove, but a file that is being made is nobody else's to write to.
        handle = _open_at(
            root,
            name,
            _READ_DATA | _WRITE_DATA | _READ_ATTRIBUTES | _WRITE_ATTRIBUTES,
            _NON_DIRECTORY_FILE | _OPEN_REPARSE_POINT,
            share=_SHARE_READ | _SHARE_DELETE,
            disposition=_CREATE,
            private=bool(flags & O_SECRET),
        )
    else:
        access = _READ_ATTRIBUTES | (_TRAVERSE if flags & O_PATH else _READ_DATA)
        options = _DIRECTORY_FILE if flags & _O_DIRECTORY else 0
        handle = (_open_itself if flags & O_NOFOLLOW else _open_at)(root, name, access, options)
    with handle:
        return handle.to_descriptor()


def _open_path(path: str, flags: int) -> int:
    if not flags & _O_DIRECTORY:
        if not flags & O_NOFOLLOW:
            return os.open(path, flags)
        parent, name = os.path.split(path)
        directory = _open_path(parent or os.curdir, DIRECTORY_FLAGS)
        try:
            return open(name, flags, dir_fd=directory)
        finally:
            os.close(directory)
    backup_semantics = 0x02000000  # without it, no directory is opened
    value = _create_file(
        system.long_path(path), _READ_DATA | _READ_ATTRIBUTES, _SHARE_ALL, None, 3, backup_semantics, None
    )
    if value in (None, _INVALID):
        raise _last_error()
    with _Handle(value) as handle:
        info = _AttributeTag()
        if not _get_information(value, _ATTRIBUTE_TAG_INFO, ctypes.byref(info), ctypes.sizeof(info)):
            raise _last_error()
        if not info.attributes & _DIRECTORY:
            raise _error(errno.ENOTDIR)
        return handle.to_descriptor()


def stat(path: Union[Name, int], *, dir_fd: Optional[int] = None, follow_symlinks: bool = True) -> os.stat_result:
    """As :func:`os.stat`."""
    if isinstance(path, int) or dir_fd is None:
        return os.stat(path, follow_symlinks=follow_symlinks)
    options = 0 if follow_symlinks else _OPEN_REPARSE_POINT
    with _open_at(_root(dir_fd), _checked(path), _READ_ATTRIBUTES, options) as handle:
        tag = _tag(handle.value)
        descriptor = handle.to_descriptor()
    try:
        info = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not tag & _NAME_SURROGATE:
        return info
    numbers = (modes.S_IFLNK | 0o777, info.st_ino, info.st_dev, info.st_nlink, 0, 0, 0, *info[7:10])
    extra: Dict[str, Any] = {name: getattr(info, name) for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")}
    extra.update(st_file_attributes=info.st_file_attributes, st_reparse_tag=tag)
    return os.stat_result(numbers, extra)


def mkdir(path: Name, mode: int = 0o777, *, dir_fd: Optional[int] = None) -> None:
    """As :func:`os.mkdir`."""
    if dir_fd is None:
        os.mkdir(path)
        return
    with _open_at(_root(dir_fd), _checked(path), _READ_ATTRIBUTES, _DIRECTORY_FILE, disposition=_CREATE):
        pass


def unlink(path: Name, *, dir_fd: Optional[int] = None) -> None:
    """As :func:`os.unlink`; read-only files go, too."""
    if dir_fd is None:
        os.unlink(path)
        return
    _remove(dir_fd, path, directory=False)


def rmdir(path: Name, *, dir_fd: Optional[int] = None) -> None:
    """As :func:`os.rmdir`."""
    if dir_fd is None:
        os.rmdir(path)
        return
    _remove(dir_fd, path, directory=True)


def unlink_unused(name: Name, dir_fd: int) -> bool:
    """Removes a file or link that nobody has open. False: somebody has, or it is something else."""
    access = _DELETE | _READ_ATTRIBUTES
    with _open_at(_root(dir_fd), _checked(name), access, _OPEN_REPARSE_POINT, share=0) as handle:
        return not _is_directory(handle.value) and not _failed(_mark_for_removal(handle.value))


def _remove(directory_descriptor: int, path: Name, directory: bool) -> None:
    root, name = _root(directory_descriptor), _checked(path)
    with _open_at(root, name, _DELETE | _READ_ATTRIBUTES, _OPEN_REPARSE_POINT, denied_may_pass=True) as handle:
        if _is_directory(handle.value) != directory:
            raise _error(errno.ENOTDIR if directory else errno.EISDIR)
        status = _patiently(False, lambda: _mark_for_removal(handle.value))
        if status == _CANNOT_DELETE and _clear_read_only(root, name):
            status = _mark_for_removal(handle.value)
    if _failed(status):
        raise _of_status(status)


def _is_directory(handle: int) -> bool:
    """Not a link to one, nor a junction."""
    info = _AttributeTag()
    if not _get_information(handle, _ATTRIBUTE_TAG_INFO, ctypes.byref(info), ctypes.sizeof(info)):
        raise _last_error()
    is_link = info.attributes & _REPARSE_POINT and info.tag & _NAME_SURROGATE
    return bool(info.attributes & _DIRECTORY) and not is_link


def _set(handle: int, kind: int, data: bytes) -> int:
    return int(_nt_set_information(handle, ctypes.byref(_IoStatus()), data, len(data), kind))


def _mark_for_removal(handle: int) -> int:
    status = _set(handle, _DISPOSITION_EX, struct.pack("<I", _REMOVE | _POSIX | _REMOVE_READ_ONLY))
    return _set(handle, _DISPOSITION, b"\1") if status in _UNKNOWN_REQUEST else status


def _clear_read_only(root: int, name: str) -> bool:
    try:
        with _open_at(root, name, _READ_ATTRIBUTES | _WRITE_ATTRIBUTES, _OPEN_REPARSE_POINT) as handle:
            return _set_read_only(handle.value, False)
    except OSError:
        return False


def _set_read_only(handle: int, wanted: bool) -> bool:
    """False: it was so already."""
    info = _BasicInfo()
    if not _get_information(handle, _BASIC_INFO, ctypes.byref(info), ctypes.sizeof(info)):
        raise _last_error()
    if bool(info.attributes & _READ_ONLY) == wanted:
        return False
    attributes = info.attributes ^ _READ_ONLY
    new = _BasicInfo(attributes=attributes or _NORMAL)  # times of 0 are left alone
    if not _set_information(handle, _BASIC_INFO, ctypes.byref(new), ctypes.sizeof(new)):
        raise _last_error()
    return True


def _named(flags: int, root: int, name: str) -> bytes:
    """FILE_RENAME_INFORMATION, and FILE_LINK_INFORMATION, which looks the same."""
    data = name.encode("utf-16-le", "surrogatepass")
    # At least the whole header with its padding, even for a name that would fit in there.
    return struct.pack("@IPI", flags, root, len(data)) + data + bytes(8)


def rename(src: Name, dst: Name, *, src_dir_fd: Optional[int] = None, dst_dir_fd: Optional[int] = None) -> None:
    """As :func:`os.rename` on POSIX: what has the name is replaced, also when it is read-only or somebody reads it."""
    if src_dir_fd is None or dst_dir_fd is None:
        os.replace(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        return
    root, name = _root(dst_dir_fd), _checked(dst)
    access = _DELETE | _READ_ATTRIBUTES
    with _open_at(_root(src_dir_fd), _checked(src), access, _OPEN_REPARSE_POINT, denied_may_pass=True) as handle:
        data = _named(_REPLACE | _POSIX | _READ_ONLY_TOO, root, name)
        status = _patiently(True, lambda: _set(handle.value, _RENAME_EX, data))
        if status in _UNKNOWN_REQUEST:
            was_read_only = _clear_read_only(root, name)
            data = _named(_REPLACE, root, name)
            status = _patiently(True, lambda: _set(handle.value, _RENAME, data))
            if _failed(status) and was_read_only:
                with _open_at(root, name, _READ_ATTRIBUTES | _WRITE_ATTRIBUTES, _OPEN_REPARSE_POINT) as old:
                    _set_read_only(old.value, True)
    if _failed(status):
        error = _of_status(status)
        if error.errno == errno.EACCES and _is_directory_at(root, name):
            raise _error(errno.EISDIR)
        raise error


def _is_directory_at(root: int, name: str) -> bool:
    try:
        with _open_at(root, name, _READ_ATTRIBUTES, _OPEN_REPARSE_POINT) as handle:
            return _is_directory(handle.value)
    except OSError:
        return False


def link(
    src: Name,
    dst: Name,
    *,
    src_dir_fd: int,
    dst_dir_fd: int,
    follow_symlinks: bool = True,
) -> None:
    """As :func:`os.link`; links are never followed."""
    access, options = _READ_ATTRIBUTES | _WRITE_ATTRIBUTES, _OPEN_REPARSE_POINT | _NON_DIRECTORY_FILE
    with _open_at(_root(src_dir_fd), _checked(src), access, options) as handle:
        status = _set(handle.value, _LINK, _named(0, _root(dst_dir_fd), _checked(dst)))
    if _failed(status):
        raise _of_status(status)


def symlink(src: Name, dst: Name, *, dir_fd: Optional[int] = None) -> None:
    """As :func:`os.symlink`, to a file or a directory, as it is now. The target may have "/" between names.

    By path, that of the open directory at this moment, because only this call gets at the permission that "developer
    mode" gives to users without the privilege.
    """
    target = os.fsdecode(src).replace("/", "\\")
    if target.startswith("\\??\\"):
        raise _error(errno.ENOTSUP)  # a junction
    if dir_fd is None:
        os.symlink(target, os.fsdecode(dst))
        return
    where = _path(_root(dir_fd)).rstrip("\\") + "\\" + _checked(dst)
    # Only what a relative target leads to is looked at: the path of a server would have this machine introduce itself.
    relative = not target.startswith("\\") and ":" not in target
    is_directory = relative and os.path.isdir(os.path.join(os.path.dirname(where), target))
    try:
        os.symlink(target, where, target_is_directory=is_directory)
    except OSError as error:
        raise _of_code(getattr(error, "winerror", 0) or 0) from None


def readlink(path: AnyStr, *, dir_fd: Optional[int] = None) -> AnyStr:
    """As :func:`os.readlink`, with "/" between names. A junction's target begins with ``/??/``."""
    if dir_fd is None:
        return os.readlink(path)
    buffer = ctypes.create_string_buffer(16 * 1024)
    got = _Dword()
    with _open_at(_root(dir_fd), _checked(path), _READ_ATTRIBUTES, _OPEN_REPARSE_POINT) as handle:
        if not _device_control(handle.value, _GET_REPARSE_POINT, None, 0, buffer, 16 * 1024, ctypes.byref(got), None):
            raise _last_error()
    tag, _, _, begin, length = struct.unpack_from("<IHHHH", buffer.raw)
    if tag not in (_TAG_SYMLINK, _TAG_JUNCTION):
        raise _error(errno.EINVAL)
    begin += 20 if tag == _TAG_SYMLINK else 16
    target = buffer.raw[begin : begin + length].decode("utf-16-le", "surrogatepass")
    if tag == _TAG_SYMLINK and target.startswith("\\??\\"):
        target = target[4:]
        target = "\\" + target[3:] if target.startswith("UNC\\") else target
    target = target.replace("\\", "/")
    return os.fsencode(target) if isinstance(path, bytes) else target


def utime(
    path: Union[Name, int],
    times: None = None,
    *,
    ns: Tuple[int, int],
    dir_fd: Optional[int] = None,
    follow_symlinks: bool = True,
) -> None:
    """As :func:`os.utime`. Raises OverflowError for what a file's time cannot say."""
    accessed, modified = (nanoseconds // 100 + _EPOCH for nanoseconds in ns)
    if not (0 < accessed < 1 << 63 and 0 < modified < 1 << 63):
        raise OverflowError("before 1601, or too late")
    new = _BasicInfo(accessed=accessed, modified=modified)  # what is 0 is left alone
    if isinstance(path, int):
        root, name = _root(path), ""
        if _set_information(root, _BASIC_INFO, ctypes.byref(new), ctypes.sizeof(new)):
            return
    elif dir_fd is None:
        os.utime(path, ns=ns)
        return
    else:
        root, name = _root(dir_fd), _checked(path)
    with _open_at(root, name, _WRITE_ATTRIBUTES, 0 if follow_symlinks else _OPEN_REPARSE_POINT) as handle:
        if not _set_information(handle.value, _BASIC_INFO, ctypes.byref(new), ctypes.sizeof(new)):
            raise _last_error()


def fchmod(fd: int, mode: int) -> None:
    """As :func:`os.chmod` does it here: who may not write makes the file read-only."""
    _set_read_only(_root(fd), not mode & modes.S_IWRITE)


def ftruncate(fd: int, length: int) -> None:
    """As :func:`os.ftruncate`, but what is added need not be written."""
    size = ctypes.c_int64(length)
    if not _set_information(_root(fd), _END_OF_FILE_INFO, ctypes.byref(size), 8):
        raise _last_error()


def pread(fd: int, n: int, offset: int) -> bytes:
    """As :func:`os.pread`, but it moves the descriptor's position: one thread at a time."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, n)


def pwrite(fd: int, data: "Union[bytes, memoryview]", offset: int) -> int:
    """As :func:`os.pwrite`, but it moves the descriptor's position: one thread at a time."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


def readv(fd: int, buffers: Sequence[memoryview]) -> int:
    """As :func:`os.readv`, into the first buffer."""
    data = os.read(fd, len(buffers[0]))
    buffers[0][: len(data)] = data
    return len(data)


# Beyond os -----------------------------------------------------------------------------------------------------------


def sync(descriptor: int) -> None:
    """Makes an open file or directory durable, as far as its file system can do that."""
    if _flush(_root(descriptor)):
        return
    # Only a handle that may write can flush. Where there is none, the journal keeps the names in order anyway.
    try:
        with _open_at(_root(descriptor), "", _WRITE_DATA, 0) as handle:
            if _flush(handle.value):
                return
            error = _last_error()
    except OSError:
        return
    if error.errno not in system.NOT_SUPPORTED | {errno.EINVAL, errno.EROFS, errno.EACCES}:
        raise error


def free_space(descriptor: int) -> int:
    """Free bytes for this user where an open file or directory is; 0 when unknown."""
    try:
        path = _path(_root(descriptor))
        return shutil.disk_usage(path if os.path.isdir(path) else os.path.dirname(path)).free
    except OSError:
        return 0


def is_removed(descriptor: int) -> bool:
    """Whether an open directory is in none any more, or about to be."""
    info = (ctypes.c_byte * 24)()  # FILE_STANDARD_INFO
    if not _get_information(_root(descriptor), 1, ctypes.byref(info), 24):
        return True
    _, _, links, pending, _ = struct.unpack_from("<qqIBB", bytes(info))
    return bool(links == 0 or pending)


class Entry:
    """What :func:`scandir` finds, as :class:`os.DirEntry`; what it is beside its type is asked when it is wanted: the
    directory's own record of a file with several names may be old.
    """

    __slots__ = ("_attributes", "_directory", "_tag", "name")

    def __init__(self, directory: int, name: str, attributes: int, tag: int) -> None:
        self.name = name
        self._directory = directory
        self._attributes = attributes
        self._tag = tag

    def is_symlink(self) -> bool:
        return bool(self._attributes & _REPARSE_POINT and self._tag & _NAME_SURROGATE)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        if self.is_symlink():
            return follow_symlinks and modes.S_ISDIR(self.stat().st_mode)
        return bool(self._attributes & _DIRECTORY)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return stat(self.name, dir_fd=self._directory, follow_symlinks=follow_symlinks)


class Scan:
    """The entries of a directory, from its first one; a context that has nothing to close."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Entry]:
        # Network file systems answer no more than 64 KiB at once.
        buffer = ctypes.create_string_buffer(64 * 1024)
        kind = _DIRECTORY_RESTART_INFO
        while _get_information(_root(self._directory), kind, buffer, len(buffer)):
            kind = _DIRECTORY_INFO
            yield from self._records(buffer.raw)
        code = ctypes.get_last_error()
        if code not in (2, 18):  # the end; the root of an empty volume has not even "."
            raise _of_code(code)

    def _records(self, data: bytes) -> List[Entry]:
        found = []
        position = 0
        while True:
            (step,) = struct.unpack_from("<I", data, position)
            attributes, length, tag = struct.unpack_from("<III", data, position + 56)
            begin = position + 68
            name = data[begin : begin + length].decode("utf-16-le", "surrogatepass")
            if name not in (".", ".."):
                found.append(Entry(self._directory, name, attributes, tag))
            if not step:
                return found
            position += step


def scandir(path: int) -> Scan:
    """As :func:`os.scandir` of an open directory, which has to stay open."""
    return Scan(path)
