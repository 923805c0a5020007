"""sync: what is copied, linked, left alone and removed, and what is refused before anything is written."""

import contextlib
import errno
import inspect
import os
import re
import shutil
import socket
import stat
import sys
import threading

import anyio
import pytest
from faults.harness import rule, session
from users import ROOT, as_user

import py_eacopy
from py_eacopy import SyncAction, sync

if sys.platform != "win32":
    import fcntl
    import resource

TIME = 1_600_000_000_123_456_789
posix = pytest.mark.skipif(os.name != "posix", reason="modes, special files, links or paths of POSIX")


@pytest.fixture(autouse=True)
def capable(backend):
    """Only backends that can sync; "auto" would take the other one."""
    if "sync" not in py_eacopy.backend_info().capabilities:
        pytest.skip("the %s backend has no sync" % backend)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, data=b"x", mtime=TIME, mode=0o644):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(mtime, mtime))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def slashes(path):
    return path.replace(os.sep, "/")


def contents(root):
    """What is in a tree: kind, contents, mode and time of each thing, by path."""
    found = {}
    for above, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(above, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                what = os.readlink(path)
            elif stat.S_ISDIR(info.st_mode):
                what = (stat.S_IMODE(info.st_mode), info.st_mtime_ns)
            else:
                what = (read(path), stat.S_IMODE(info.st_mode), info.st_mtime_ns)
            found[slashes(os.path.relpath(path, root))] = what
    return found


def names(root):
    return sorted(contents(root))


def make_tree(root):
    write(root + "/top", b"top")
    write(root + "/a/one", b"1", mode=0o600)
    write(root + "/a/b/two", b"22", mode=0o755)
    write(root + "/.hidden", b"h")
    os.makedirs(root + "/empty/inner")
    os.symlink("a", root + "/to-a")
    os.symlink("nowhere", root + "/dangling")


def kinds(report):
    return sorted((action.action, slashes(action.destination)) for action in report.actions)


# Copying and leaving alone --------------------------------------------------------------------------------------------


def test_a_new_destination_becomes_like_the_source(backend, place):
    make_tree("src")
    report = sync("src", "out/dst")
    assert contents("out/dst") == contents("src")
    assert (report.files_copied, report.bytes_copied, report.symlinks_copied) == (4, 7, 2)
    assert report.directories_created == 6  # with the parent
    assert report.ok and report.backend == backend


def test_what_is_the_same_is_left_alone(place):
    make_tree("src")
    sync("src", "dst")
    before = {name: os.lstat(os.path.join("dst", name)).st_ino for name in names("dst")}
    report = sync("src", "dst")
    assert (report.files_copied, report.symlinks_copied, report.directories_created) == (0, 0, 0)
    assert (report.files_skipped, report.bytes_skipped) == (6, 7)
    assert {name: os.lstat(os.path.join("dst", name)).st_ino for name in names("dst")} == before


def test_what_differs_in_size_or_time_is_replaced(place):
    make_tree("src")
    sync("src", "dst")
    write("src/top", b"longer")
    write("src/a/one", b"2", mtime=TIME + 1, mode=0o600)
    write("dst/a/b/two", b"by hand")
    report = sync("src", "dst")
    assert report.files_copied == 3
    assert contents("dst") == contents("src")


def test_a_file_is_replaced_not_written_through(place):
    write("src/f", b"new")
    write("other", b"old")
    os.mkdir("dst")
    os.link("other", "dst/f")
    os.utime("dst/f", ns=(1, 1))
    sync("src", "dst")
    assert read("dst/f") == b"new" and read("other") == b"old"


def test_a_link_at_the_destination_is_replaced_not_followed(place):
    write("src/f", b"new")
    write("other", b"old")
    os.mkdir("dst")
    os.symlink("../other", "dst/f")
    sync("src", "dst")
    assert not os.path.islink("dst/f") and read("dst/f") == b"new" and read("other") == b"old"


def test_a_read_only_file_is_replaced(place):
    write("src/f", b"new", mode=0o444)
    write("dst/f", b"old", mtime=5, mode=0o444)
    sync("src", "dst")
    assert contents("dst") == contents("src")


@posix
def test_a_mode_alone_is_mended(place):
    write("src/f", mode=0o600)
    sync("src", "dst")
    os.chmod("dst/f", 0o644)
    inode = os.stat("dst/f").st_ino
    report = sync("src", "dst", record_actions=True)
    assert (report.files_copied, report.files_skipped) == (0, 1)
    assert kinds(report) == [("mend", "dst/f")]
    assert stat.S_IMODE(os.stat("dst/f").st_mode) == 0o600 and os.stat("dst/f").st_ino == inode


def test_links_stay_links_and_are_brought_up_to_date(place):
    make_tree("src")
    sync("src", "dst")
    os.unlink("src/to-a")
    os.symlink("empty", "src/to-a")
    write("dst/other")
    os.unlink("dst/dangling")
    os.symlink("other", "dst/dangling")
    report = sync("src", "dst")
    assert report.symlinks_copied == 2 and report.files_copied == 0
    assert os.readlink("dst/to-a") == "empty" and os.readlink("dst/dangling") == "nowhere"
    assert read("dst/other") == b"x"


def test_links_can_be_followed(place):
    make_tree("src")
    os.unlink("src/dangling")
    os.symlink("top", "src/to-top")
    report = sync("src", "dst", follow_symlinks=True)
    assert not os.path.islink("dst/to-a") and read("dst/to-a/b/two") == b"22" and read("dst/to-top") == b"top"
    assert report.symlinks_copied == 0
    assert sync("src", "dst", follow_symlinks=True).files_copied == 0
    assert sync("src", "other", config=py_eacopy.Config(follow_symlinks=True)).symlinks_copied == 0


def test_changed_files_can_be_left_alone(place):
    make_tree("src")
    write("dst/top", b"mine")
    report = sync("src", "dst", exclude_changed=True)
    assert read("dst/top") == b"mine" and read("dst/a/one") == b"1"
    assert (report.files_copied, report.files_skipped) == (3, 1)


def test_contents_can_be_compared(place):
    write("src/same", b"abc", mtime=5)
    write("dst/same", b"abc", mtime=9)
    write("src/differs", b"abc", mtime=5)
    write("dst/differs", b"abd", mtime=5)
    assert sync("src", "other").files_copied == 2
    inode = os.stat("dst/same").st_ino
    report = sync("src", "dst", compare="hash")
    assert (report.files_copied, report.files_skipped) == (1, 1)
    assert contents("dst") == contents("src") and os.stat("dst/same").st_ino == inode
    assert sync("src", "dst", compare="hash").files_copied == 0


def test_times_are_compared_as_exactly_as_both_sides_can(backend, place, monkeypatch):
    if backend != "portable":
        pytest.skip("what file systems there are is only told to the portable backend")
    from py_eacopy.backends.portable.sync import file_systems

    write("src/f", b"x", mtime=2_000_000_000)
    write("dst/f", b"x", mtime=3_999_999_999)
    assert sync("src", "dst", dry_run=True).files_copied == 1
    device = os.stat(".").st_dev
    monkeypatch.setattr(file_systems, "_types_of_devices", lambda: {device: "vfat"})
    assert sync("src", "dst", dry_run=True).files_skipped == 1
    os.chmod("dst/f", 0o600)  # such a file system has no modes to set
    assert sync("src", "dst", dry_run=True).actions == ()
    write("dst/f", b"x", mtime=4_000_000_000)
    assert sync("src", "dst", dry_run=True).files_copied == 1


@posix
def test_a_name_that_differs_in_case_alone_is_another_one_here(place):
    write("src/name", b"data")
    sync("src", "dst")
    os.link("dst/name", "dst/NAME")
    write("src/new", b"link to an older copy")
    os.mkdir("older")
    shutil.copy2("src/new", "older/new")
    os.link("older/new", "dst/NEW")
    assert sync("src", "dst", mirror=True, link_dirs=["older"]).files_removed == 2
    assert names("dst") == ["name", "new"]


def test_another_spelling_of_a_name_is_not_purged_where_case_does_not_count(place, backend):
    write("src/name", b"data")
    sync("src", "dst")
    os.rename("dst/name", "dst/NAME")
    write("dst/Other")
    code = "result = py_eacopy.sync(source, destination, mirror=True, config=config).files_removed"
    where = {"source": os.path.abspath("src"), "destination": os.path.abspath("dst")}
    outcome = session().execute(
        code, backend=backend, watch=os.getcwd(), rules=[rule("stat", "fold", path="dst")], **where
    )
    assert outcome.error is None
    assert outcome.result == 1
    assert names("dst") == ["NAME"]


# What is selected -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"files": ["*.c"]}, ["a.c", "d", "d/b.c", "d/deep", "e"]),
        ({"files": ["*.c"], "empty_dirs": False}, ["a.c", "d", "d/b.c"]),
        ({"files": ["?.c", "x"], "subdirs": False}, ["a.c", "x"]),
        ({"files": ["d/*"]}, ["d", "d/b.c", "d/deep", "d/deep/x", "e"]),
        ({"files": ["/x"], "empty_dirs": False}, ["x"]),
        ({"exclude_files": ["*.c"], "empty_dirs": False}, ["d", "d/deep", "d/deep/x", "x"]),
        ({"exclude_files": ["/x", "d/b.c"], "empty_dirs": False}, ["a.c", "d", "d/deep", "d/deep/x"]),
        ({"exclude_dirs": ["deep"]}, ["a.c", "d", "d/b.c", "e", "x"]),
        ({"exclude_dirs": ["d/d*p"], "empty_dirs": False}, ["a.c", "d", "d/b.c", "x"]),
        ({"max_depth": 1}, ["a.c", "x"]),
        ({"max_depth": 2}, ["a.c", "d", "d/b.c", "e", "x"]),
        ({"files": ["A.C"], "empty_dirs": False}, ["a.c"] if os.name == "nt" else []),
        ({"files": [b"*.c"], "exclude_files": ("a*",), "empty_dirs": False}, ["d", "d/b.c"]),
    ],
)
def test_names_and_paths_select(place, options, expected):
    for path in ("a.c", "x", "d/b.c", "d/deep/x"):
        write("src/" + path)
    os.mkdir("src/e")
    sync("src", "dst", **options)
    assert names("dst") == expected


@posix
def test_attributes_select(place):
    write("src/.hidden")
    write("src/read-only", mode=0o444)
    write("src/both", mode=0o644)
    sync("src", "a", exclude_attributes="H")
    sync("src", "b", include_attributes="rh")
    sync("src", "c", exclude_attributes="R", include_attributes="H")
    assert names("a") == ["both", "read-only"]
    assert names("b") == [".hidden", "read-only"]
    assert names("c") == [".hidden"]
    with pytest.raises(py_eacopy.UnsupportedError, match='"R" and "H"'):
        sync("src", "d", include_attributes="S")
    assert not os.path.exists("d")


def test_a_flat_destination_has_all_files(place):
    make_tree("src")
    write("dst/extra")
    report = sync("src", "dst", flatten=True)
    assert names("dst") == [".hidden", "dangling", "extra", "one", "to-a", "top", "two"]
    assert report.directories_created == 0
    report = sync("src", "dst", flatten=True, purge=True)
    assert (report.files_copied, report.files_removed, report.files_skipped) == (0, 1, 6)
    assert "extra" not in names("dst")


def test_the_second_file_of_one_name_is_an_error_in_a_flat_destination(place):
    write("src/a/f", b"1")
    write("src/b/f", b"2")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", flatten=True)
    (error,) = caught.value.errors
    assert isinstance(error, py_eacopy.DestinationExistsError) and "another file of this name" in str(error)
    assert read("dst/f") in (b"1", b"2")


# Purging --------------------------------------------------------------------------------------------------------------


def test_mirror_removes_what_the_source_does_not_have(place):
    make_tree("src")
    sync("src", "dst")
    write("dst/a/extra", b"12345")
    write("dst/gone/deep/er", b"1")
    os.symlink("..", "dst/gone/out")
    report = sync("src", "dst", mirror=True)
    assert contents("dst") == contents("src")
    assert (report.files_removed, report.directories_removed) == (3, 2)
    assert report.bytes_removed == 5 + 1 + 2
    assert report.files_copied == 0


def test_without_purge_nothing_is_removed(place):
    make_tree("src")
    write("dst/extra")
    report = sync("src", "dst")
    assert os.path.exists("dst/extra") and report.files_removed == 0


def test_purging_does_not_leave_the_destination(place):
    make_tree("src")
    write("outside/precious")
    os.makedirs("dst/gone")
    os.symlink("../outside", "dst/to-outside")
    os.symlink("../../outside", "dst/gone/to-outside")
    os.symlink("../outside", "dst/a")
    report = sync("src", "dst", mirror=True)
    assert names("outside") == ["precious"]
    assert contents("dst") == contents("src") and report.files_removed == 3


def test_purging_keeps_what_is_left_out(place):
    write("src/f")
    for path in ("keep.log", "keep/x", "d/keep.log", "d/gone", "gone/x"):
        write("dst/" + path)
    report = sync("src", "dst", mirror=True, exclude_files=["*.log"], exclude_dirs=["keep"])
    assert names("dst") == ["d", "d/keep.log", "f", "keep", "keep.log", "keep/x"]
    assert (report.files_removed, report.directories_removed) == (2, 1)
    write("dst/f.txt")
    sync("src", "dst", mirror=True, files=["*.txt"])
    assert "f" in names("dst") and "f.txt" not in names("dst")


def test_purging_without_empty_directories_removes_those_in_which_nothing_goes(place):
    write("src/f")
    os.makedirs("src/empty")
    os.makedirs("src/also/empty")
    write("dst/empty/old")
    write("dst/also/empty/old")
    expected = sync("src", "dst", purge=True, empty_dirs=False, dry_run=True)
    report = sync("src", "dst", purge=True, empty_dirs=False)
    assert names("dst") == ["f"]
    assert (report.files_removed, report.directories_removed) == (2, 3)
    assert (expected.files_removed, expected.directories_removed) == (2, 3)


@posix
def test_what_cannot_be_listed_is_not_purged(place):
    write("src/d/f")
    sync("src", "dst")
    write("dst/d/extra")
    write("dst/gone")
    os.chmod("src/d", 0)
    os.chmod(".", 0o777)
    if ROOT:
        os.chown("dst", 4321, 4321)

    def run():
        with pytest.raises(shutil.Error) as caught:
            sync("src", "dst", mirror=True)
        assert [error.filename for error in caught.value.errors] == ["src/d"]

    try:
        assert as_user(run) is None
    finally:
        os.chmod("src/d", 0o755)
    assert names("dst") == ["d", "d/extra", "d/f"]


@posix
def test_a_file_in_the_way_of_a_directory_is_an_error_without_purge(place):
    write("src/d/f")
    write("src/g")
    write("dst/d", b"file")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst")
    (error,) = caught.value.errors
    assert isinstance(error, py_eacopy.DestinationExistsError)
    assert "purge or mirror" in str(error) and (error.filename, error.filename2) == ("src/d", "dst/d")
    assert read("dst/d") == b"file" and os.path.exists("dst/g")
    report = sync("src", "dst", purge=True)
    assert contents("dst") == contents("src") and report.mismatches == 1


def test_a_directory_in_the_way_of_a_file_is_an_error_without_purge(place):
    write("src/f", b"file")
    os.symlink("f", "src/link")
    write("dst/f/precious")
    write("dst/link/precious")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst")
    assert [error.kind for error in caught.value.errors] == [py_eacopy.ErrorKind.DESTINATION_EXISTS] * 2
    assert all("purge or mirror" in str(error) for error in caught.value.errors)
    assert os.path.exists("dst/f/precious") and os.path.exists("dst/link/precious")
    report = sync("src", "dst", mirror=True)
    assert contents("dst") == contents("src")
    assert (report.mismatches, report.files_removed, report.directories_removed) == (2, 2, 2)


def test_a_link_to_a_directory_is_replaced_or_kept(place):
    write("src/d/f")
    write("real/old")
    os.mkdir("dst")
    os.symlink("../real", "dst/d")
    sync("src", "dst", keep_dir_symlinks=True)
    assert os.path.islink("dst/d") and names("real") == ["f", "old"]
    os.unlink("real/f")
    sync("src", "dst")
    assert not os.path.islink("dst/d") and read("dst/d/f") == b"x" and names("real") == ["old"]


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination"), [("a", "a"), ("a", "a/b"), ("a", "a/new/er"), ("a/b", "a"), ("a", "to-b")]
)
def test_trees_in_each_other_are_refused(place, source, destination):
    write("a/b/f")
    os.symlink("a/b", "to-b")
    before = contents(".")
    with pytest.raises(py_eacopy.InvalidArgumentError, match="lies in"):
        sync(source, destination, mirror=True)
    assert contents(".") == before


def test_a_source_that_is_no_directory_is_refused(place):
    write("f")
    with pytest.raises(NotADirectoryError, match="files="):
        sync("f", "dst")
    with pytest.raises(FileNotFoundError):
        sync("missing", "dst")
    assert not os.path.exists("dst")


def test_a_destination_that_is_a_file_is_refused(place):
    write("src/f")
    write("dst", b"file")
    with pytest.raises(py_eacopy.EACopyError) as caught:
        sync("src", "dst", mirror=True)
    assert not isinstance(caught.value, shutil.Error) and read("dst") == b"file"


@pytest.mark.parametrize(
    ("keywords", "exception"),
    [
        ({"compare": "md5"}, py_eacopy.InvalidArgumentError),
        ({"max_depth": 0}, py_eacopy.InvalidArgumentError),
        ({"max_depth": True}, py_eacopy.InvalidArgumentError),
        ({"link_min_size": -1}, py_eacopy.InvalidArgumentError),
        ({"include_attributes": "X"}, py_eacopy.InvalidArgumentError),
        ({"include_attributes": 3}, TypeError),
        ({"files": "*.c"}, TypeError),
        ({"exclude_files": [3]}, TypeError),
        ({"exclude_files": ["a\0b"]}, py_eacopy.InvalidArgumentError),
        ({"link_dirs": [""]}, py_eacopy.InvalidArgumentError),
        ({"file_lists": "list.txt"}, TypeError),
        ({"config": 3}, TypeError),
        ({"control": 3}, TypeError),
    ],
)
def test_bad_arguments_are_refused(place, keywords, exception):
    write("src/f")
    with pytest.raises(exception, match=next(iter(keywords))):
        sync("src", "dst", **keywords)
    assert not os.path.exists("dst")


@posix
def test_specials_are_errors_and_the_rest_is_copied(place):
    write("src/f")
    os.mkfifo("src/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("src/socket")
        with pytest.raises(shutil.Error) as caught:
            sync("src", "dst")
    assert {error.filename for error in caught.value.errors} == {"src/fifo", "src/socket"}
    assert names("dst") == ["f"]


# Older copies ---------------------------------------------------------------------------------------------------------


@posix
def test_what_is_no_file_is_never_replaced_nor_written_to(place):
    for name in ("device", "fifo", "socket"):
        write("src/" + name, b"data")
    os.mkdir("dst")
    os.mkfifo("dst/fifo")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind("dst/socket")
    expected = {"fifo": "INVALID_ARGUMENT", "socket": "DESTINATION_EXISTS"}
    if ROOT:
        os.mknod("dst/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        expected["device"] = "DESTINATION_EXISTS"
    for options in ({}, {"compare": "hash", "hard_links": True}):
        with pytest.raises(shutil.Error) as caught:
            sync("src", "dst", **options)
        assert {os.path.basename(e.filename): e.kind.name for e in caught.value.errors} == expected
        assert stat.S_ISFIFO(os.lstat("dst/fifo").st_mode) and stat.S_ISSOCK(os.lstat("dst/socket").st_mode)
        assert "device" not in expected or stat.S_ISCHR(os.lstat("dst/device").st_mode)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_loop_below_what_is_not_there_is_an_error_of_its_own(place, dry_run):
    write("src/a/b/f")
    os.symlink("..", "src/a/b/loop")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", follow_symlinks=True, empty_dirs=False, exclude_files=["*"], dry_run=dry_run)
    assert [(e.filename, e.errno, e.destination) for e in caught.value.errors] == [
        ("src/a/b/loop", errno.ELOOP, "absent")
    ]
    assert os.path.exists("dst") != dry_run and names("dst") == ([] if dry_run else ["a", "a/b"])


def test_files_are_linked_to_an_older_copy(place):
    make_tree("src")
    sync("src", "one")
    write("src/top", b"changed")
    report = sync("src", "two", link_dirs=["missing", "one"])
    assert (report.files_linked, report.bytes_linked, report.files_copied) == (3, 4, 1)
    assert contents("two") == contents("src")
    assert os.path.samefile("one/a/b/two", "two/a/b/two") and not os.path.samefile("one/top", "two/top")


def test_a_changed_file_is_replaced_by_a_link(place):
    write("src/f", b"new")
    sync("src", "one")
    write("two/f", b"old", mtime=5)
    report = sync("src", "two", link_dirs=["one"], record_actions=True)
    assert report.actions == (SyncAction("link", os.path.join("one", "f"), os.path.join("two", "f"), 3),)
    assert os.path.samefile("one/f", "two/f") and os.listdir("two") == ["f"]


@posix
@pytest.mark.parametrize("what", ["size", "time", "mode", "link"])
def test_what_is_not_the_same_is_not_linked_to(place, what):
    write("src/f", b"abc")
    sync("src", "one")
    if what == "size":
        write("one/f", b"abcd")
    elif what == "time":
        os.utime("one/f", ns=(TIME, TIME + 1))
    elif what == "mode":
        os.chmod("one/f", 0o600)
    else:
        os.rename("one/f", "one/g")
        os.symlink("g", "one/f")
    report = sync("src", "two", link_dirs=["one"])
    assert (report.files_linked, report.files_copied) == (0, 1) and contents("two") == contents("src")


def test_small_files_are_copied_rather_than_linked(place):
    write("src/small", b"1234")
    write("src/large", b"12345")
    sync("src", "one")
    report = sync("src", "two", link_dirs=["one"], link_min_size=5)
    assert (report.files_linked, report.files_copied) == (1, 1) and os.path.samefile("one/large", "two/large")


def test_a_database_remembers_where_files_were_copied(place):
    make_tree("src")
    first = sync("src", "one", link_database="db")
    assert first.files_copied == 4 and read("db").startswith(b"eacopydb003\0")
    second = sync("src", "two", link_database="db")
    assert second.files_linked == 4 and os.path.samefile("one/a/one", "two/a/one")
    os.rename("src/a", "src/moved")
    assert sync("src", "three", link_database="db").files_linked == 2
    shutil.rmtree("one")
    shutil.rmtree("two")
    shutil.rmtree("three")
    assert sync("src", "four", link_database="db").files_copied == 4
    assert contents("four") == contents("src")


def test_a_database_by_name_finds_files_that_moved(place):
    write("src/a/unique", b"data")
    sync("src", "one", link_database="db", link_by_name=True)
    os.rename("src/a", "src/moved")
    assert sync("src", "two", link_database="db", link_by_name=True).files_linked == 1
    assert os.path.samefile("one/a/unique", "two/moved/unique")
    sync("src", "three", link_database="by-path")
    os.rename("src/moved", "src/again")
    assert sync("src", "four", link_database="by-path").files_linked == 0
    shutil.rmtree("four")
    os.unlink("by-path")
    sync("three", "five", link_database="by-path")
    assert sync("src", "four", link_database="by-path", link_by_name=True).files_linked == 1


def test_a_damaged_database_is_of_no_consequence(place):
    write("src/f")
    write("db", b"nonsense")
    assert sync("src", "dst", link_database="db").files_copied == 1
    assert read("db").startswith(b"eacopydb003\0")


@posix
def test_a_database_that_is_no_file_is_refused_before_anything_is_written(place):
    write("src/f")
    os.mkdir("directory")
    os.mkfifo("fifo")
    for name, number in (("directory", errno.EISDIR), ("fifo", errno.EINVAL)):
        with pytest.raises(py_eacopy.EACopyError) as caught:
            sync("src", "dst", link_database=name)
        assert (caught.value.errno, caught.value.filename) == (number, name)
        assert not os.path.exists("dst")
    assert stat.S_ISFIFO(os.lstat("fifo").st_mode)


def test_a_database_that_cannot_be_saved_is_an_error_beside_what_was_done(place):
    write("src/f")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", link_database="missing/db")
    (error,) = caught.value.errors
    assert (error.errno, error.kind.name, error.filename2) == (errno.ENOENT, "FILE_NOT_FOUND", "missing/db")
    assert read("dst/f") == b"x"


def test_names_of_one_file_stay_names_of_one_file(place):
    write("src/a", b"data")
    os.mkdir("src/d")
    os.link("src/a", "src/d/b")
    os.link("src/a", "src/d/c")
    report = sync("src", "dst", hard_links=True)
    assert (report.files_copied, report.files_linked) == (1, 2)
    assert os.stat("dst/a").st_nlink == 3 and contents("dst") == contents("src")
    report = sync("src", "dst", hard_links=True)
    assert (report.files_copied, report.files_linked, report.files_skipped) == (0, 0, 3)
    os.unlink("dst/d/c")
    write("dst/d/c", b"data")
    assert sync("src", "dst", hard_links=True).files_linked == 1
    assert os.stat("dst/a").st_nlink == 3
    assert sync("src", "other").files_linked == 0 and os.stat("other/a").st_nlink == 1


@pytest.mark.parametrize("threads", [1, 4])
def test_names_of_one_file_stay_so_in_directories_that_are_complete(place, threads):
    write("src/0/first", b"data")
    for number in range(40):
        for directory in ("src/%d" % number, "src/%d/in/deep" % number):
            write(directory + "/own")
            if directory != "src/0":
                os.link("src/0/first", directory + "/name")
    config = py_eacopy.Config(thread_count=threads)
    report = sync("src", "dst", hard_links=True, config=config)
    assert (report.files_copied, report.files_linked) == (81, 79)
    assert os.stat("dst/7/in/deep/name").st_nlink == 80 and contents("dst") == contents("src")
    assert sync("src", "dst", hard_links=True, config=config).files_skipped == 160


def test_an_archive_keeps_owners(place):
    write("src/f")
    os.symlink("f", "src/l")
    os.mkdir("src/d")
    if ROOT:
        for name in ("f", "l", "d"):
            os.chown("src/" + name, 1234, 1235, follow_symlinks=False)
    report = sync("src", "dst", archive=True)
    for name in ("f", "l", "d"):
        ours, theirs = os.lstat("dst/" + name), os.lstat("src/" + name)
        assert (ours.st_uid, ours.st_gid) == (theirs.st_uid, theirs.st_gid)
    assert report.not_kept == ()
    if ROOT:
        os.chown("dst/f", 0, 0)
        again = sync("src", "dst", archive=True, record_actions=True)
        assert kinds(again) == [("mend", "dst/f")] and os.stat("dst/f").st_uid == 1234


def test_directories_that_are_read_only_are_brought_up_to_date(place):
    write("src/d/f", b"1")
    write("src/d/inner/g", b"1")
    os.chmod("src/d", 0o555)
    sync("src", "dst")
    os.chmod("src/d", 0o755)
    write("src/d/f", b"2", mtime=5)
    os.rename("src/d/inner", "src/d/other")
    os.chmod("src/d", 0o555)
    os.chmod("dst/d/inner", 0o500)
    os.chmod(".", 0o777)
    for above, _, _ in os.walk("."):
        if ROOT:
            os.chown(above, 4321, 4321)
    report = as_user(lambda: sync("src", "dst", mirror=True))
    expected = contents("src")
    assert report is None and contents("dst") == expected
    os.chmod("src/d", 0o755)
    os.chmod("dst/d", 0o755)


@posix
def test_a_directory_that_may_only_be_listed_does_not_stop_a_dry_run(place):
    write("src/f")
    write("src/d/g")
    write("dst/old")
    os.chmod(".", 0o777)
    os.chmod("dst", 0o444)
    if ROOT:
        os.chown("dst", 4321, 4321)

    def run():
        with pytest.raises(shutil.Error) as caught:
            sync("src", "dst", purge=True, dry_run=True)
        found = sorted((os.path.relpath(e.filename), e.errno) for e in caught.value.errors)
        assert found == [("dst/old", errno.EACCES), ("src/d", errno.EACCES), ("src/f", errno.EACCES)]

    assert as_user(run) is None
    os.chmod("dst", 0o755)


@pytest.mark.skipif(not ROOT, reason="needs files of other users")
def test_what_an_archive_could_not_keep_is_told(place):
    write("src/f")
    os.chown("src/f", 1234, 1235)
    os.chmod(".", 0o777)

    def run():
        report = sync("src", "dst", archive=True)
        assert report.ok and any("owner" in line for line in report.not_kept)

    assert as_user(run) is None
    assert read("dst/f") == b"x"


# Dry runs and actions -------------------------------------------------------------------------------------------------


def prepared_for_changes():
    make_tree("src")
    sync("src", "dst")
    write("src/top", b"changed")
    write("src/new/file", b"12")
    os.symlink("top", "src/new/link")
    write("dst/extra/file", b"123")
    os.chmod("dst/a/one", 0o777)
    os.unlink("dst/a/b/two")
    write("dst/a/b/two/in/the/way")
    os.unlink("dst/empty/inner") if os.path.islink("dst/empty/inner") else os.rmdir("dst/empty/inner")
    write("dst/empty/inner")


def test_a_dry_run_tells_what_a_run_does_and_writes_nothing(place):
    prepared_for_changes()
    before = contents(".")
    expected = sync("src", "dst", mirror=True, dry_run=True)
    assert contents(".") == before
    report = sync("src", "dst", mirror=True, record_actions=True)
    assert contents("dst") == contents("src")
    for counter in (
        "files_copied",
        "bytes_copied",
        "files_skipped",
        "bytes_skipped",
        "files_removed",
        "bytes_removed",
        "directories_removed",
        "directories_created",
        "symlinks_copied",
        "mismatches",
    ):
        assert getattr(expected, counter) == getattr(report, counter), counter
    assert kinds(expected) == kinds(report)
    assert ("overwrite", "dst/top") in kinds(report) and ("mend", "dst/a/one") in kinds(report)
    assert ("make-directory", "dst/new") in kinds(report) and ("symlink", "dst/new/link") in kinds(report)
    assert ("remove", "dst/extra/file") in kinds(report) and ("remove-directory", "dst/extra") in kinds(report)


def test_a_dry_run_of_everything(place):
    make_tree("src")
    report = sync("src", "new/dst", dry_run=True)
    assert not os.path.exists("new")
    assert (report.files_copied, report.bytes_copied, report.symlinks_copied) == (4, 7, 2)
    assert SyncAction("copy", "src/a/one", "new/dst/a/one", 1) in report.actions
    sync("src", "one")
    report = sync("src", "two", dry_run=True, link_dirs=["one"])
    assert report.files_linked == 4 and not os.path.exists("two")


def test_actions_go_to_a_callback(place):
    make_tree("src")
    seen = []
    control = py_eacopy.Control(action=seen.append)
    report = sync("src", "dst", control=control)
    assert report.actions == () and control.actions == []
    assert len(seen) == 4 + 2 + 5 and all(isinstance(action, SyncAction) for action in seen)
    assert {action.action for action in seen} == {"copy", "symlink", "make-directory"}


def test_an_exception_out_of_an_action_callback_stops_the_job(place):
    make_tree("src")

    def refuse(action):
        raise KeyError(action.destination)

    with pytest.raises(KeyError):
        sync("src", "dst", control=py_eacopy.Control(action=refuse))


def test_progress_is_of_what_is_copied(place):
    make_tree("src")
    sync("src", "dst")
    write("src/top", b"changed")
    seen = []
    control = py_eacopy.Control(lambda *event: seen.append(event))
    sync("src", "dst", control=control)
    assert seen == [(0, 7, "src/top"), (7, 7, "src/top")]
    state = control.snapshot()
    assert (state.files_found, state.files_copied, state.files_skipped) == (6, 1, 5)
    assert state.bytes_found == 7 + 4 and state.bytes_skipped == 4


# Directories ----------------------------------------------------------------------------------------------------------


@posix
def test_directories_get_times_and_modes(place):
    write("src/d/f")
    os.chmod("src/d", 0o750)
    os.utime("src/d", ns=(TIME, TIME))
    sync("src", "dst")
    assert stat.S_IMODE(os.stat("dst/d").st_mode) == 0o750 and os.stat("dst/d").st_mtime_ns == TIME
    write("src/d/g")
    os.utime("src/d", ns=(TIME, TIME))
    sync("src", "dst")
    assert os.stat("dst/d").st_mtime_ns == TIME
    sync("src", "other", dir_times=False)
    assert os.stat("other/d").st_mtime_ns != TIME and stat.S_IMODE(os.stat("other/d").st_mode) == 0o750


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_directories_get_everything_else_where_they_get_no_times(place):
    write("src/d/f")
    try:
        os.setxattr("src/d", "user.colour", b"green")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    sync("src", "dst", dir_times=False)
    assert os.listxattr("dst/d") == ["user.colour"]


def test_empty_directories_can_be_left_out(place):
    make_tree("src")
    os.makedirs("src/x/y/z")
    write("src/x/y/z/file")
    sync("src", "dst", empty_dirs=False)
    assert "empty" not in names("dst") and "x/y/z/file" in names("dst")


@posix
def test_deep_and_long_paths(place):
    os.mkdir("src")
    above = os.getcwd()
    os.chdir("src")
    for _ in range(60):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    write("f", b"deep")
    os.chdir(above)
    report = sync("src", "dst")
    assert report.files_copied == 1
    report = sync("src", "two", link_dirs=["dst"])
    assert report.files_linked == 1
    write("empty/f")
    os.unlink("empty/f")
    report = sync("empty", "two", mirror=True)
    assert (report.files_removed, report.directories_removed) == (1, 60) and os.listdir("two") == []


@posix
def test_deep_trees_are_removed_with_few_descriptors(place):
    write("src/f")
    for i in range(8):
        os.makedirs("dst/%d/" % i + "d/" * 60)
        write("src/%d/g" % i)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = max(map(int, os.listdir("/dev/fd"))) + 28
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        report = sync("src", "dst", mirror=True, config=py_eacopy.Config(thread_count=4))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (report.directories_removed, report.files_copied) == (480, 9)


def test_many_files_in_one_directory(place):
    for number in range(600):
        write("src/f%d" % number, b"%d" % number)
    assert sync("src", "dst").files_copied == 600
    write("src/f500", b"changed")
    write("dst/extra")
    report = sync("src", "dst", mirror=True)
    assert (report.files_copied, report.files_skipped, report.files_removed) == (1, 599, 1)
    assert contents("dst") == contents("src")


# Leftovers, stopping --------------------------------------------------------------------------------------------------


def test_what_dead_writers_left_is_removed_and_what_is_alive_stays(place):
    make_tree("src")
    sync("src", "dst")
    write("dst/.eacopy-0123456789abcdef.tmp", b"dead")
    write("dst/a/.eacopy-0123456789abcdef.tmp", b"alive")
    write("src/.eacopy-fedcba9876543210.tmp", b"not mine to copy")
    with open("dst/a/.eacopy-0123456789abcdef.tmp", "rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        sync("src", "dst", mirror=True, dry_run=True)
        assert os.path.exists("dst/.eacopy-0123456789abcdef.tmp")
        report = sync("src", "dst", mirror=True)
        assert "a/.eacopy-0123456789abcdef.tmp" in names("dst")
    assert report.files_removed == 0
    assert not any(name.startswith(".eacopy-") for name in names("dst"))
    sync("src", "dst", mirror=True)
    assert names("dst") == [name for name in names("src") if "eacopy-" not in name]


@posix
def test_an_atomic_copy_holds_a_lock_on_its_temporary_file(place):
    write("src", b"x" * (8 << 20))
    seen = []

    def look(copied, total, name):
        for name in os.listdir("."):
            if re.fullmatch(r"\.eacopy-[0-9a-f]{16}\.tmp", name):
                with open(name, "rb") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        seen.append("free")
                    except BlockingIOError:
                        seen.append("locked")

    config = py_eacopy.Config(atomic=True, reflink="never", buffer_size=4096, progress_callback=look)
    for _ in range(20):
        py_eacopy.copy("src", "dst", config=config)
        if seen:
            break
    assert set(seen) <= {"locked"}


def test_a_cancelled_sync_leaves_no_temporary_file(place):
    for number in range(8):
        write("src/f%d" % number, os.urandom(1 << 20) * 8)
    control = py_eacopy.Control()
    control.progress = lambda copied, total, name: control.cancel()
    with pytest.raises(py_eacopy.CopyInterruptedError):
        sync("src", "dst", control=control, config=py_eacopy.Config(reflink="never"))
    assert all(os.path.getsize("dst/" + name) == 8 << 20 for name in os.listdir("dst"))
    assert sync("src", "dst").ok and contents("dst") == contents("src")


@posix
def test_errors_are_collected_and_can_be_ignored(place):
    write("src/good")
    os.mkfifo("src/bad")
    config = py_eacopy.Config(error_strategy="ignore")
    report = sync("src", "dst", config=config)
    assert not report.ok and report.files_copied == 1 and len(report.errors) == 1


def test_paths_are_answered_in_the_callers_kind(place):
    make_tree("src")
    os.mkfifo("src/fifo")
    with pytest.raises(shutil.Error) as caught:
        sync(b"src", b"dst")
    assert caught.value.errors[0].filename == b"src/fifo"


# The other ways to call it --------------------------------------------------------------------------------------------


def test_the_class_has_it(place):
    make_tree("src")
    with py_eacopy.EACopy(follow_symlinks=False) as eac:
        assert eac.sync("src", "dst", mirror=True).files_copied == 4
        assert eac.sync("src", "dst", control=py_eacopy.Control()).files_copied == 0
        with pytest.raises(TypeError, match="mirorr"):
            eac.sync("src", "dst", mirorr=True)


def test_the_backend_is_picked_by_what_it_can(place):
    make_tree("src")
    config = py_eacopy.Config(backend="auto")
    report = sync("src", "dst", config=config)
    assert report.files_copied == 4
    capable = "sync" in py_eacopy.backend_info(config=config).capabilities
    assert report.backend == (py_eacopy.backend_info(config=config).name if capable else "portable")


def test_its_keywords_are_those_that_are_passed_on():
    from py_eacopy import _sync

    text = inspect.getsource(_sync).split("class SyncOptions", 1)[1].split('"""', 2)[2].split("\n\n\n", 1)[0]
    passed_on = re.findall(r"^ +(\w+):", text, re.MULTILINE)
    own = [name for name in inspect.signature(sync).parameters if name not in ("src", "dst", "config", "control")]
    assert passed_on == own


def test_it_can_be_awaited(place):
    make_tree("src")
    threads = set()

    async def main():
        control = py_eacopy.Control(action=lambda action: threads.add(threading.get_ident()))
        report = await py_eacopy.async_sync("src", "dst", mirror=True, control=control)
        async with py_eacopy.EACopy() as eac:
            again = await eac.async_sync("src", "dst", dry_run=True)
        return report, again

    report, again = anyio.run(main)
    assert report.files_copied == 4 and again.files_copied == 0 and threads
    assert contents("dst") == contents("src")


# File lists -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(place):
    """A source with files, and a function that syncs what a list says."""
    for path in ("Foo.txt", "A/B/Foo.txt", "A/B/C/Bar.txt", "A/x.dat", "My File.txt"):
        write("src/" + path, path.encode())

    def run(text, destination="dst", **options):
        with open("list.txt", "wb") as file:
            file.write(text.encode("utf-8"))
        return sync("src", destination, file_lists=["list.txt"], **options)

    return run


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("link", ["..", "../dst"])
def test_a_link_to_what_holds_the_destination_does_not_fill_it_without_end(place, link, flatten):
    write("src/f")
    write("dst/g")
    os.symlink(link, "src/to")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", follow_symlinks=True, flatten=flatten, exclude_dirs=["src"])
    below = "" if link == "../dst" else "/dst"
    assert [(e.filename, e.errno, e.destination) for e in caught.value.errors] == [
        ("src/to" + below, errno.ELOOP, "absent")
    ]
    assert names("dst") == sorted(["f", "g"] + (["to"] if below and not flatten else []))


def test_a_link_into_the_directory_that_it_goes_to_ends(place):
    write("src/y/f")
    write("dst/y/g")
    os.symlink("../../dst/y", "src/y/x")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", follow_symlinks=True)
    assert [(e.filename, e.errno) for e in caught.value.errors] == [("src/y/x", errno.ELOOP)]
    assert names("dst") == ["y", "y/f", "y/g"]


@posix
def test_a_dry_run_does_not_try_again_what_is_refused(place):
    with socket.socket(socket.AF_UNIX) as made:
        os.mkdir("src")
        made.bind("src/socket")
    config = py_eacopy.Config(error_strategy="retry", retry_count=2, retry_delay=0)
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", dry_run=True, config=config)
    assert [(e.filename, e.errno) for e in caught.value.errors] == [("src/socket", errno.ENXIO)]
    assert caught.value.report.retries == 0


def test_a_clone_that_cannot_be_made_is_counted_once(place):
    write("src/f", b"12345")
    write("old/f", b"12345")
    control = py_eacopy.Control()
    config = py_eacopy.Config(reflink="always", error_strategy="ignore")
    sync("src", "dst", link_dirs=["old"], config=config, control=control)
    assert control.snapshot().bytes_found == 5


def test_a_directory_that_fails_is_absent_where_flat(place):
    write("src/d/f")
    os.symlink("..", "src/d/loop")
    write("dst/loop")
    with pytest.raises(shutil.Error) as caught:
        sync("src", "dst", follow_symlinks=True, flatten=True)
    assert [(e.filename, e.destination) for e in caught.value.errors] == [("src/d/loop", "absent")]


def files(root):
    return [name for name in names(root) if os.path.isfile(os.path.join(root, name))]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Foo.txt", {}, ["Foo.txt"]),
        ("\nFoo.txt\r\n\n  Foo.txt  \n./Foo.txt", {}, ["Foo.txt"]),
        ("A\\B\\Foo.txt", {}, ["A/B/Foo.txt"]),
        ("A\\B\\Foo.txt A", {}, ["A/Foo.txt"]),
        ("A//B/Foo.txt .", {}, ["Foo.txt"]),
        ("A/B", {}, ["A/B/C/Bar.txt", "A/B/Foo.txt"]),
        ("A/B A", {}, ["A/C/Bar.txt", "A/Foo.txt"]),
        ("A/B .", {"subdirs": False}, ["Foo.txt"]),
        ("A/B .", {"max_depth": 1}, ["Foo.txt"]),
        ('"My File.txt" "a place"', {}, ["a place/My File.txt"]),
        ("A/*.dat\nA/B/*.txt q", {}, ["A/x.dat", "q/C/Bar.txt", "q/Foo.txt"]),
        ("*.dat\n*.nothing", {"empty_dirs": False}, ["A/x.dat"]),
        ("A\nFoo.txt\n", {"flatten": True, "exclude_dirs": ["B"]}, ["Foo.txt", "x.dat"]),
        ("A\nFoo.txt\n", {"exclude_files": ["A/B/*", "/Foo.txt"]}, ["A/x.dat"]),
        ("nope\nFoo.txt", {"optional_files": ["n?pe"]}, ["Foo.txt"]),
        ("A\nFoo.txt\n", {"files": ["My*"], "empty_dirs": False, "exclude_dirs": ["B"]},
         ["A/x.dat", "Foo.txt", "My File.txt"]),
    ],
)  # fmt: skip
def test_lists_say_what_goes_where(listed, text, options, expected):
    listed(text, **options)
    assert files("dst") == expected
    assert listed(text, **options).files_copied == 0


def test_absolute_entries_lie_in_the_source(listed):
    listed(os.path.abspath("src/A/x.dat"))
    assert files("dst") == ["A/x.dat"]


def test_a_file_can_go_to_two_places(listed):
    assert listed("Foo.txt\nFoo.txt more").files_copied == 2
    assert files("dst") == ["Foo.txt", "more/Foo.txt"]


def test_a_list_may_name_itself_and_other_lists(listed):
    write("src/inner.txt", b"inner.txt\n/I deeper.txt\n")
    write("src/deeper.txt", b"A/x.dat\n")
    sync("src", "dst", file_lists=["inner.txt"])  # looked up in the source
    assert files("dst") == ["A/x.dat", "inner.txt"]
    write("src/deeper.txt", b"/I inner.txt\n")
    with pytest.raises(py_eacopy.InvalidArgumentError, match="in itself"):
        sync("src", "dst", file_lists=["inner.txt"])


def test_a_list_may_be_utf_16(listed):
    write("src/ü.txt")
    write("wide.txt", "ü.txt\r\n".encode("utf-16"))
    sync("src", "dst", file_lists=[b"wide.txt"])
    assert files("dst") == ["ü.txt"]


@posix
def test_missing_files_are_errors_and_the_rest_is_copied(listed):
    with pytest.raises(shutil.Error) as caught:
        listed("nope\nFoo.txt\nA/nope")
    assert [error.filename for error in caught.value.errors] == ["src/nope", "src/A/nope"]
    assert all(isinstance(error, FileNotFoundError) for error in caught.value.errors)
    assert files("dst") == ["Foo.txt"]


def test_a_directory_is_purged_where_a_list_says_so(listed):
    write("dst/A/B/Bar.txt")
    write("dst/A/Hej.txt")
    write("dst/Bau.txt")
    assert listed("A /PURGE").files_removed == 2
    assert files("dst") == ["A/B/C/Bar.txt", "A/B/Foo.txt", "A/x.dat", "Bau.txt"]


def test_purging_what_no_line_stands_for_has_no_directories_to_remove_again(listed):
    for _ in range(2):
        listed("A/x.dat", files=["Foo.txt"], mirror=True)
    report = listed("A/x.dat", files=["Foo.txt"], mirror=True)
    assert (report.directories_created, report.directories_removed) == (0, 0)
    assert files("dst") == ["A/B/Foo.txt", "A/x.dat", "Foo.txt"]


@posix
def test_a_destination_that_cannot_be_purged_is_named(listed):
    listed("Foo.txt", purge=True)
    os.chmod(".", 0o777)
    os.chmod("dst", 0o300)
    if ROOT:
        os.chown("dst", 4321, 4321)

    def run():
        with pytest.raises(shutil.Error) as caught:
            sync("src", "dst", file_lists=["list.txt"], purge=True)
        assert [(e.filename, e.filename2, e.errno) for e in caught.value.errors] == [("src", "dst", errno.EACCES)]

    assert as_user(run) is None


def test_purging_a_listed_directory_keeps_what_other_lines_put_there(listed):
    write("dst/A/Hej.txt")
    text = 'A/B A /purge\n"My File.txt" A\nA/*.dat A/deep'
    assert listed(text, subdirs=False).files_removed == 1
    assert files("dst") == ["A/Foo.txt", "A/My File.txt", "A/deep/x.dat"]
    again = listed(text, subdirs=False)
    assert (again.files_copied, again.files_removed) == (0, 0)


@posix
def test_purging_removes_what_is_not_listed(listed):
    for path in ("A/old.dat", "A/old.txt", "old", "deep/er/old"):
        write("dst/" + path)
    os.chmod("dst", 0o751)
    before = contents("dst")
    expected = listed("A/*.dat\nFoo.txt", purge=True, dry_run=True)
    assert contents("dst") == before
    report = listed("A/*.dat\nFoo.txt", purge=True)
    assert files("dst") == ["A/x.dat", "Foo.txt"] and not os.path.exists("dst/deep")
    assert report.files_removed == expected.files_removed == 4
    assert stat.S_IMODE(os.stat("dst").st_mode) == 0o751


def test_nothing_is_purged_after_an_error(listed):
    write("dst/old")
    with pytest.raises(shutil.Error):
        listed("nope", purge=True)
    assert files("dst") == ["old"]


def test_exclude_lists_leave_out(listed):
    write("x.txt", b"Foo.txt\nA/B\n")
    sync("src", "dst", exclude_lists=["x.txt"])
    assert files("dst") == ["A/x.dat", "My File.txt"]
    listed("Foo.txt\nA\nMy*", "other", exclude_lists=["x.txt"])
    assert files("other") == ["A/x.dat", "My File.txt"]


def test_listed_files_are_linked_to_older_copies(listed):
    listed("Foo.txt\nA/B A", "one")
    report = listed("Foo.txt\nA/B A", "two", link_dirs=["one"])
    assert (report.files_linked, report.files_copied) == (3, 0)
    assert os.path.samefile("one/A/C/Bar.txt", "two/A/C/Bar.txt")


def test_a_link_to_an_older_copy_names_it(listed):
    listed("A/B/Foo.txt", "one")
    report = listed("A/B/Foo.txt", "two", link_dirs=["one"], record_actions=True)
    assert [(a.source, a.destination) for a in report.actions if a.action == "link"] == [
        (os.path.join("one", "A/B/Foo.txt"), os.path.join("two", "A/B/Foo.txt"))
    ]


def test_all_directories_above_a_listed_file_are_counted(listed):
    assert listed("A/B/Foo.txt", "new/out").directories_created == 4


@pytest.mark.parametrize("what", ["file", "dangling link"])
def test_what_is_where_the_directory_of_a_listed_file_goes_is_an_error(listed, what):
    write("dst/other")
    os.symlink("nowhere" if what == "dangling link" else "other", "dst/A")
    with pytest.raises(shutil.Error) as caught:
        listed("Foo.txt A")
    assert [(e.errno, e.destination) for e in caught.value.errors] == [(errno.EEXIST, "absent")]
    assert names("dst") == ["A", "other"]


def test_totals_are_those_of_all_that_is_listed(listed):
    control = py_eacopy.Control()
    listed("Foo.txt\nA/B\nA/*.dat", control=control)
    state = control.snapshot()
    assert (state.files_found, state.files_copied, state.files_skipped) == (4, 4, 0)
    listed("Foo.txt", control=control)
    assert control.snapshot().files_found == 1


def test_flat_names_from_lists_must_differ(listed):
    with pytest.raises(shutil.Error, match="another file of this name"):
        listed("Foo.txt\nA/B/Foo.txt", flatten=True)
    assert read("dst/Foo.txt") == b"Foo.txt"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"Foo.txt', "double quote"),
        ("Foo.txt a b", "too many fields"),
        ("Foo.txt /MIR", "/MIR is not known"),
        ("../x", "does not lie in the source"),
        ("/etc/passwd", "does not lie in the source"),
        ("Foo.txt ../..", "does not lie in the destination"),
        ("Foo.txt /PURGE", "only a directory can be purged"),
    ],
)
def test_bad_lines_are_refused_before_anything_is_written(listed, line, message):
    with pytest.raises(py_eacopy.InvalidArgumentError, match=re.escape(message)) as caught:
        listed("A\n" + line)
    assert "list.txt:2" in str(caught.value) and not os.path.exists("dst")


def test_a_list_that_is_not_there_is_an_error(listed):
    with pytest.raises(FileNotFoundError) as caught:
        sync("src", "dst", file_lists=["nope.txt"])
    assert caught.value.errno == errno.ENOENT and not os.path.exists("dst")
