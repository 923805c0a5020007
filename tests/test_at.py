"""Names in open directories, as the portable backend's network service looks them up on every system."""

import errno
import os
import sys

import pytest
from faults import trees

from py_eacopy.backends.portable import at

TIME = 1_600_000_000_123_456_700
windows = pytest.mark.skipif(sys.platform != "win32", reason="names that only Windows cannot have")


@pytest.fixture
def directory(tmp_path):
    descriptor = at.open(str(tmp_path), at.DIRECTORY_FLAGS)
    yield descriptor
    os.close(descriptor)


def create(directory, name, content=b""):
    descriptor = at.open(name, at.CREATE_FLAGS | at.O_NOFOLLOW, 0o666, dir_fd=directory)
    at.pwrite(descriptor, content, 0)
    os.close(descriptor)


def names(directory):
    descriptor = at.open(".", at.DIRECTORY_FLAGS, dir_fd=directory)
    try:
        with at.scandir(descriptor) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    finally:
        os.close(descriptor)


def test_a_file_is_made_written_dated_and_named_while_it_is_open(directory, tmp_path):
    descriptor = at.open(b"new", at.CREATE_FLAGS | at.O_NOFOLLOW, 0o666, dir_fd=directory)
    with pytest.raises(FileExistsError):
        at.open(b"new", at.CREATE_FLAGS | at.O_NOFOLLOW, 0o666, dir_fd=directory)
    assert at.pwrite(descriptor, b"content", 3) == 7 and at.pread(descriptor, 4, 2) == b"\0con"
    at.ftruncate(descriptor, 1 << 20)
    at.utime(descriptor, ns=(TIME + 100, TIME))
    create(directory, "old")
    at.rename(b"new", b"old", src_dir_fd=directory, dst_dir_fd=directory)
    at.sync(descriptor)
    os.close(descriptor)
    info = at.stat(b"old", dir_fd=directory, follow_symlinks=False)
    assert (info.st_size, info.st_mtime_ns) == (1 << 20, TIME)
    assert trees.WINE or info.st_atime_ns == TIME + 100  # it says "now", whatever was set
    assert os.path.samestat(info, os.stat(tmp_path / "old"))
    assert trees.read(tmp_path / "old") == b"\0\0\0content" + bytes((1 << 20) - 10)
    assert names(directory) == [("old", False)]


def test_what_is_read_only_is_replaced_and_removed(directory, tmp_path):
    for name in ("a", "b"):
        create(directory, name, b"old")
        os.chmod(tmp_path / name, 0o444)
    create(directory, "new", b"new")
    at.rename("new", "a", src_dir_fd=directory, dst_dir_fd=directory)
    assert trees.read(tmp_path / "a") == b"new"
    at.unlink("b", dir_fd=directory)
    assert names(directory) == [("a", False)]


def test_directories(directory, tmp_path):
    at.mkdir("sub", dir_fd=directory)
    with pytest.raises(FileExistsError):
        at.mkdir("sub", dir_fd=directory)
    inside = at.open("sub", at.DIRECTORY_FLAGS | at.O_NOFOLLOW, dir_fd=directory)
    create(inside, "grüße 文件 🎉")
    at.mkdir("deeper", dir_fd=inside)
    assert names(inside) == [("deeper", True), ("grüße 文件 🎉", False)] and names(directory) == [("sub", True)]
    assert sorted(os.listdir(tmp_path / "sub")) == ["deeper", "grüße 文件 🎉"]
    at.utime(inside, ns=(TIME, TIME))
    at.sync(inside)
    assert os.stat(tmp_path / "sub").st_mtime_ns == TIME and at.free_space(inside) > 0
    for call, name, number in (
        (at.unlink, "deeper", (errno.EISDIR, errno.EPERM)),
        (at.rmdir, "grüße 文件 🎉", (errno.ENOTDIR,)),
    ):
        with pytest.raises(OSError) as caught:
            call(name, dir_fd=inside)
        assert caught.value.errno in number
    with pytest.raises(OSError) as caught:
        at.rmdir("sub", dir_fd=directory)
    assert caught.value.errno == errno.ENOTEMPTY
    with pytest.raises(NotADirectoryError):
        at.open("grüße 文件 🎉", at.DIRECTORY_FLAGS | at.O_NOFOLLOW, dir_fd=inside)
    with pytest.raises(FileNotFoundError):
        at.open("nothing", at.READ_FLAGS, dir_fd=inside)
    at.rmdir("deeper", dir_fd=inside)
    at.unlink("grüße 文件 🎉", dir_fd=inside)
    assert not at.is_removed(inside)
    at.rmdir("sub", dir_fd=directory)
    if not trees.WINE:  # it removes a directory when nobody has it open any more, and does not say so
        assert at.is_removed(inside)
    os.close(inside)
    assert names(directory) == []


def test_a_directory_that_is_renamed_is_still_that_directory(directory, tmp_path):
    at.mkdir("first", dir_fd=directory)
    inside = at.open("first", at.DIRECTORY_FLAGS, dir_fd=directory)
    try:
        at.rename("first", "second", src_dir_fd=directory, dst_dir_fd=directory)
    except PermissionError:
        assert trees.WINE  # it renames no directory that is open
        os.close(inside)
        return
    at.mkdir("first", dir_fd=directory)
    create(inside, "file")
    os.close(inside)
    assert os.listdir(tmp_path / "second") == ["file"] and os.listdir(tmp_path / "first") == []


def test_another_name_of_a_file(directory):
    create(directory, "one", b"content")
    at.link("one", "two", src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    with pytest.raises(FileExistsError):
        at.link("one", "two", src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    one, two = (at.stat(name, dir_fd=directory, follow_symlinks=False) for name in ("one", "two"))
    assert os.path.samestat(one, two) and one.st_nlink == 2


def test_links_are_seen_and_not_followed(directory, tmp_path):
    create(directory, "file", b"content")
    at.mkdir("sub", dir_fd=directory)
    for target, name in (("file", "to file"), ("sub", "to sub"), ("nowhere/at all", "dangling")):
        at.symlink(target, name, dir_fd=directory)
        assert at.readlink(os.fsencode(name), dir_fd=directory) == os.fsencode(target)
        assert os.path.islink(tmp_path / name)
        with pytest.raises(OSError) as caught:
            at.open(name, at.READ_FLAGS | at.O_NOFOLLOW, dir_fd=directory)
        assert caught.value.errno == errno.ELOOP
        with pytest.raises(OSError) as caught:
            at.open(name, at.DIRECTORY_FLAGS | at.O_NOFOLLOW, dir_fd=directory)
        assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert at.stat("to file", dir_fd=directory).st_size == 7
    at.unlink("to sub", dir_fd=directory)
    assert os.path.isdir(tmp_path / "sub")


@windows
@pytest.mark.parametrize(
    "name", ["a:b", "a::$DATA", "..", "../x", "sub\\x", "sub/x", "\\x", "C:", "a?", "\0", "", "x" * 256]
)
def test_a_name_is_nothing_but_a_name(directory, tmp_path, name):
    at.mkdir("sub", dir_fd=directory)
    create(directory, "a")
    for call in (
        lambda: at.open(name, at.CREATE_FLAGS, 0o666, dir_fd=directory),
        lambda: at.open(name, at.READ_FLAGS, dir_fd=directory),
        lambda: at.mkdir(name, dir_fd=directory),
        lambda: at.unlink(name, dir_fd=directory),
        lambda: at.rename("a", name, src_dir_fd=directory, dst_dir_fd=directory),
        lambda: at.link("a", name, src_dir_fd=directory, dst_dir_fd=directory),
        lambda: at.symlink("a", name, dir_fd=directory),
    ):
        with pytest.raises(OSError):
            call()
    assert names(directory) == [("a", False), ("sub", True)] and os.listdir(tmp_path / "sub") == []
