"""The exceptions: what each one is, what it says, and that both backends mean the same by an errno."""

import errno
import inspect
import os
import pickle
import re
import shutil

import pytest

import py_eacopy
from py_eacopy import EACopyError, ErrorKind, Operation, TreeError, _errors
from py_eacopy._errors import DestinationState, classify, error_from_failure, tree_error, use_bytes_paths
from py_eacopy.backends import native_errno

CLASSES = [
    cls
    for name, cls in sorted(vars(_errors).items())
    if inspect.isclass(cls) and issubclass(cls, EACopyError) and not name.startswith("_") and cls is not EACopyError
]

BUILTIN = {
    "CopyIOError": OSError,
    "FFIError": RuntimeError,
    "PathError": OSError,
    "NotADirectoryPathError": NotADirectoryError,
    "SourceNotFoundError": FileNotFoundError,
    "DirectoryNotFoundError": FileNotFoundError,
    "PermissionDeniedError": PermissionError,
    "DestinationExistsError": FileExistsError,
    "DestinationIsDirectoryError": IsADirectoryError,
    "SourceIsDirectoryError": IsADirectoryError,
    "InvalidArgumentError": ValueError,
    "SameFileCopyError": shutil.SameFileError,
    "SpecialFileCopyError": shutil.SpecialFileError,
    "NetworkError": ConnectionError,
    "TransferTimeoutError": TimeoutError,
    "EncodingError": UnicodeError,
    "CallbackError": RuntimeError,
    "FileTooLargeError": OSError,
    "DiskFullError": OSError,
    "ReadError": OSError,
    "WriteError": OSError,
    "CopyInterruptedError": InterruptedError,
    "ServerError": ConnectionError,
    "ClientError": ConnectionError,
    "DeltaCopyError": OSError,
    "UnsupportedError": NotImplementedError,
    "ConfigurationError": ValueError,
    "UnknownError": OSError,
    "TreeError": shutil.Error,
    "MoveError": shutil.Error,
}

#: (errno, operation) -> kind and class: one for each kind that the operating system can cause.
FAILURES = [
    (errno.EIO, Operation.OPEN_SOURCE, ErrorKind.IO, "CopyIOError"),
    (errno.EMFILE, Operation.OPEN_SOURCE, ErrorKind.IO, "CopyIOError"),
    (errno.ENOTDIR, Operation.OPEN_SOURCE, ErrorKind.PATH, "NotADirectoryPathError"),
    (errno.ENAMETOOLONG, Operation.OPEN_DESTINATION, ErrorKind.PATH, "PathError"),
    (errno.ELOOP, Operation.OPEN_SOURCE, ErrorKind.PATH, "PathError"),
    (errno.ENOENT, Operation.OPEN_SOURCE, ErrorKind.FILE_NOT_FOUND, "SourceNotFoundError"),
    (errno.ENOENT, Operation.OPEN_DESTINATION, ErrorKind.DIRECTORY_NOT_FOUND, "DirectoryNotFoundError"),
    (errno.ENOENT, Operation.LIST_DIRECTORY, ErrorKind.DIRECTORY_NOT_FOUND, "DirectoryNotFoundError"),
    (errno.EACCES, Operation.OPEN_SOURCE, ErrorKind.PERMISSION_DENIED, "PermissionDeniedError"),
    (errno.EPERM, Operation.SET_MODE, ErrorKind.PERMISSION_DENIED, "PermissionDeniedError"),
    (errno.EROFS, Operation.OPEN_DESTINATION, ErrorKind.PERMISSION_DENIED, "PermissionDeniedError"),
    (errno.EEXIST, Operation.MAKE_DIRECTORY, ErrorKind.DESTINATION_EXISTS, "DestinationExistsError"),
    (errno.EISDIR, Operation.OPEN_DESTINATION, ErrorKind.DESTINATION_EXISTS, "DestinationIsDirectoryError"),
    (errno.EISDIR, Operation.OPEN_SOURCE, ErrorKind.INVALID_ARGUMENT, "SourceIsDirectoryError"),
    (0, Operation.SAME_FILE, ErrorKind.INVALID_ARGUMENT, "SameFileCopyError"),
    (0, Operation.SPECIAL_FILE, ErrorKind.INVALID_ARGUMENT, "SpecialFileCopyError"),
    (errno.ENETUNREACH, Operation.READ, ErrorKind.NETWORK, "NetworkError"),
    (errno.ESTALE, Operation.READ, ErrorKind.NETWORK, "NetworkError"),
    (errno.ETIMEDOUT, Operation.READ, ErrorKind.TIMEOUT, "TransferTimeoutError"),
    (errno.EILSEQ, Operation.OPEN_DESTINATION, ErrorKind.ENCODING, "EncodingError"),
    (errno.EFBIG, Operation.WRITE, ErrorKind.FILE_TOO_LARGE, "FileTooLargeError"),
    (errno.ENOSPC, Operation.WRITE, ErrorKind.DISK_FULL, "DiskFullError"),
    (errno.EDQUOT, Operation.WRITE, ErrorKind.DISK_FULL, "DiskFullError"),
    (errno.EIO, Operation.READ, ErrorKind.READ_ERROR, "ReadError"),
    (errno.EIO, Operation.WRITE, ErrorKind.WRITE_ERROR, "WriteError"),
    (errno.EIO, Operation.CLOSE, ErrorKind.WRITE_ERROR, "WriteError"),
    (errno.ECANCELED, Operation.NONE, ErrorKind.INTERRUPTED, "CopyInterruptedError"),
    (errno.EOPNOTSUPP, Operation.CLONE, ErrorKind.UNSUPPORTED, "UnsupportedError"),
    (0, Operation.VERIFY, ErrorKind.IO, "CopyIOError"),
    (0, Operation.NONE, ErrorKind.UNKNOWN, "UnknownError"),
]

failures = pytest.mark.parametrize(
    "number, operation, kind, name", FAILURES, ids=lambda value: getattr(value, "name", str(value))
)


def test_there_are_23_kinds_each_with_a_class():
    assert len(ErrorKind) == 23
    assert {cls.kind for cls in CLASSES} == set(ErrorKind)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_is_the_builtin_that_a_caller_would_catch(cls):
    assert issubclass(cls, BUILTIN[cls.__name__])
    assert getattr(py_eacopy, cls.__name__) is cls


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_drawn_tree_is_the_real_one(cls):
    drawn = re.search(r"\+-- %s +([A-Z_]+|of its first) +(.+)" % cls.__name__, _errors.__doc__)
    assert drawn, cls
    if cls is not TreeError:
        assert drawn.group(1) == cls.kind.name
    for name in drawn.group(2).split(", "):
        base = getattr(shutil, name[7:]) if name.startswith("shutil.") else __builtins__[name]
        assert issubclass(cls, base)


@failures
def test_failure_becomes_the_exception_for_its_kind(number, operation, kind, name):
    assert classify(number, operation) is kind
    error = error_from_failure(number, operation, "/from/here", "/to/there")
    assert type(error).__name__ == name
    assert error.kind is kind
    assert error.operation is operation
    assert error.errno == (number or None)
    assert (error.filename, error.filename2) == ("/from/here", "/to/there")


@failures
def test_message_names_what_failed_the_paths_and_the_reason(number, operation, kind, name):
    text = str(error_from_failure(number, operation, "/from/here", "/to/there"))
    assert "/from/here" in text
    if operation is not Operation.SPECIAL_FILE:
        assert "/to/there" in text
    if number and kind is not ErrorKind.INTERRUPTED:
        assert number >= 10000 or os.strerror(number) in text  # those of Winsock have other texts
    assert "None" not in text
    if operation is not Operation.SAME_FILE:  # which takes two
        assert "None" not in str(error_from_failure(number, operation, "/from/here", None))


@pytest.mark.parametrize("operation", [op for op in Operation if op is not Operation.NONE], ids=lambda op: op.name)
def test_message_names_the_operation(operation):
    text = str(error_from_failure(errno.EIO, operation, "/from/here", "/to/there"))
    assert "while " in text or operation in (Operation.SAME_FILE, Operation.SPECIAL_FILE)


@pytest.mark.parametrize(
    "number, operation, remedy",
    [
        (errno.EISDIR, Operation.OPEN_SOURCE, "copytree"),
        (errno.ENOTDIR, Operation.LIST_DIRECTORY, "copy2"),
        (errno.ECONNREFUSED, Operation.CONNECT, "a server runs there"),
        (errno.EACCES, Operation.AUTHENTICATE, "the same token"),
        (errno.EADDRINUSE, Operation.LISTEN, "another port"),
        (errno.ENOENT, Operation.OPEN_DESTINATION, "a parent of a file is not created"),
    ],
)
def test_message_has_the_remedy(number, operation, remedy):
    assert remedy in str(error_from_failure(number, operation, "/from/here", "/to/there"))


def test_message_names_the_remedy_where_it_is_needed():
    local = error_from_failure(errno.EACCES, Operation.OPEN_DESTINATION, "eacopy://host/share/f", "/to/there")
    there = error_from_failure(errno.EACCES, Operation.OPEN_DESTINATION, "/from/here", "eacopy://host/share/f")
    assert ("owner and mode" if os.name == "posix" else "another program") in str(local) and "name of the share" in str(
        there
    )


@failures
def test_errors_survive_pickling(number, operation, kind, name):
    error = error_from_failure(number, operation, "/from/here", "/to/there", root=False, offset=7)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    for attribute in ("kind", "operation", "errno", "filename", "filename2", "offset", "root", "destination"):
        assert getattr(again, attribute) == getattr(error, attribute)


def test_details_of_a_full_disk_a_large_file_and_a_position():
    full = error_from_failure(errno.ENOSPC, Operation.WRITE, "a", "b", size=100, available=10, offset=10)
    assert (full.path, full.needed, full.available, full.offset) == ("b", 100, 10, 10)
    assert "at offset 10" in str(full)
    large = error_from_failure(errno.EFBIG, Operation.WRITE, "a", "b", size=100)
    assert (large.path, large.size) == ("b", 100)
    assert error_from_failure(errno.EIO, Operation.READ, "a", "b", offset=3).path == "a"
    assert error_from_failure(errno.EIO, Operation.WRITE, "a", "b", offset=3).path == "b"


@pytest.mark.parametrize("state", list(DestinationState))
def test_state_of_the_destination_is_told(state):
    error = error_from_failure(errno.EIO, Operation.WRITE, "a", "b", destination_state=state)
    assert error.destination == state.value
    assert ("atomic=True" in str(error)) == (state is DestinationState.PARTIAL)


def test_same_file_is_said_in_shutils_words():
    same = error_from_failure(0, Operation.SAME_FILE, "a", "b")
    assert str(same) == "'a' and 'b' are the same file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_special_file_is_named_for_what_it_is(tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    for paths in ((fifo, "b"), ("a", fifo)):
        assert str(error_from_failure(0, Operation.SPECIAL_FILE, *paths)) == "`%s` is a named pipe" % fifo
    assert "is a device" in str(error_from_failure(0, Operation.SPECIAL_FILE, os.devnull, "b"))


@failures
def test_a_caller_who_wrote_bytes_gets_bytes(number, operation, kind, name):
    error = error_from_failure(number, operation, "/from/\udcff", "/to/\udcff")
    use_bytes_paths(error)
    source, target = os.fsencode("/from/\udcff"), os.fsencode("/to/\udcff")
    assert (error.filename, error.filename2) == (source, target)
    assert getattr(error, "path", None) in (None, source, target)
    if isinstance(error, OSError) and operation is not Operation.SPECIAL_FILE:
        assert repr(source) in str(error)


def test_tree_error_is_shutils_list_and_more():
    inner = [
        error_from_failure(errno.EACCES, Operation.OPEN_SOURCE, "s/a", "d/a", root=False),
        error_from_failure(errno.EIO, Operation.READ, "s/b", "d/b", root=False),
    ]
    error = tree_error(inner)
    assert error.args == ([("s/a", "d/a", str(inner[0])), ("s/b", "d/b", str(inner[1]))],)
    assert error.errors == tuple(inner)
    assert error.kind is ErrorKind.PERMISSION_DENIED
    assert (error.errno, error.filename) == (None, None)
    again = pickle.loads(pickle.dumps(error))
    assert again.args == error.args and again.kind is error.kind and len(again.errors) == 2


def test_errors_that_no_system_call_caused_have_no_errno():
    for cls in CLASSES:
        if cls is not TreeError:
            error = cls("a message")
            assert str(error) == "a message"
            assert (error.errno, error.filename, error.filename2) == (None, None, None)


def test_both_backends_classify_alike():
    native = pytest.importorskip("py_eacopy._native", reason="the native backend is not built")
    theirs = {python: number for number, python in native_errno.PYTHON_ERRNO.items()}
    numbers = {number: theirs.get(number, number) for number in (0, *errno.errorcode) if number >= 0}
    different = [
        (errno.errorcode.get(number), operation.name)
        for number, of_engine in numbers.items()
        for operation in Operation
        # Winsock has some that the C runtime has not.
        if of_engine < 10000
        and native.lib.eac_classify(of_engine, operation.value) != classify(number, operation).value
    ]
    assert not different


def test_both_backends_number_kinds_and_operations_alike():
    native = pytest.importorskip("py_eacopy._native", reason="the native backend is not built")
    for kind in ErrorKind:
        assert getattr(native.lib, "EAC_KIND_" + kind.name) == kind.value
    for operation in Operation:
        assert getattr(native.lib, "EAC_OPERATION_" + operation.name) == operation.value
