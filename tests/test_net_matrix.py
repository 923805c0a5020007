"""Copies through a server: both backends on both sides, both directions, all compression levels, all ways to be let in,
and everything that a tree may hold."""

import errno
import os
import shutil
import stat
import sys

import pytest
from faults import filesystems, trees
from net import serving
from net.serving import until_tidy

import py_eacopy
from py_eacopy._errors import Operation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="looks at POSIX modes, links and names")

LEVELS = (0, 5, "auto")
#: Names that some system, protocol or program has trouble with.
ODD_NAMES = [
    b"back\\slash",
    b"C:\\windows",
    b"\xff\xfe not UTF-8 \x80",
    b"line\nbreak",
    b"trailing dot.",
    b"trailing space ",
    b" leading space",
    b"...",
    b"n" * 255,
    "ü".encode() * 127,
    "grüße 文件 🎉".encode(),
    "e\u0301".encode(),
    "\u00e9".encode(),
    b"\xed\xa0\x80",  # what would be a lone surrogate
    b"CON",
    b'a*?<>|":',
    b"%20",
    b"tab\tbell\x07",
    b"-rf",
    b"CaSe",
    b"case",
    b".f0123",
    b"share",
]


@pytest.fixture(scope="module")
def mounts():
    mounts = filesystems.Mounts()
    yield mounts
    mounts.close()


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def source(tmp_path):
    """A tree with one of each thing that can be copied."""
    path = tmp_path / "source"
    trees.make_tree(str(path))
    return path


def need_level(pair, level):
    if level == 5:
        serving.need(pair.client, "zstd")
        serving.need(pair.server, "zstd")


def census(root):
    """Numbers of files, bytes, links, and directories below."""
    files = size = links = directories = 0
    for path, (kind, *rest) in trees.snapshot(root).items():
        files += kind == "file"
        size += len(rest[0]) if kind == "file" else 0
        links += kind == "link"
        directories += kind == "directory" and path != b""
    return files, size, links, directories


def assert_equal_trees(copy, source, **options):
    found, wanted = trees.snapshot(copy, **options), trees.snapshot(source, **options)
    assert sorted(found) == sorted(wanted)
    different = {name: (found[name], wanted[name]) for name in wanted if found[name] != wanted[name]}
    assert not different, {name: [str(part)[:200] for part in parts] for name, parts in different.items()}


def assert_report(report, backend, **fields):
    assert report.ok and report.errors == () and report.backend == backend and report.server
    assert report.seconds > 0 and report.retries == 0 and report.bytes_sent > 0 and report.bytes_received > 0
    wanted = dict(
        dict.fromkeys(("files_copied", "bytes_copied", "files_linked", "bytes_linked"), 0),
        **dict.fromkeys(("files_skipped", "bytes_skipped", "symlinks_copied", "directories_created"), 0),
    )
    wanted.update(fields)
    assert {name: getattr(report, name) for name in wanted} == wanted


def assert_level(report, level, wire):
    """The average level, and that something came of it: the tree's 3 MB of data crossed the wire as `wire` bytes."""
    if level == 0:
        assert report.compression_level == 0 and 3 << 20 < wire < 4 << 20
    elif level == 5:
        assert report.compression_level == pytest.approx(5) and wire < 3 << 19
    else:
        assert 0 <= report.compression_level <= 22


# The whole matrix ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", sorted(serving.MODES))
@pytest.mark.parametrize("level", LEVELS)
def test_a_tree_is_pushed_as_it_is(pair, level, mode, share, source):
    need_level(pair, level)
    files, size, links, directories = census(source)
    with pair.serving(share, mode=mode) as served:
        report = served.push(source, "share/new/copy", compression_level=level)
        serving.until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        stats = served.server.get_stats()
    assert_equal_trees(share / "new" / "copy", source)
    fields = {"files_copied": files, "bytes_copied": size, "symlinks_copied": links}
    # The root and its parent are made, too.
    assert_report(report, pair.client, directories_created=directories + 2, **fields)
    assert_level(report, level, report.bytes_sent)
    assert (stats["bytes_received"], stats["bytes_sent"]) == (report.bytes_sent, report.bytes_received)
    assert stats["files_received"] == files and stats["errors"] == 0
    assert sorted(os.listdir(share)) == ["new"] and os.listdir(share / "new") == ["copy"]


@pytest.mark.parametrize("mode", sorted(serving.MODES))
@pytest.mark.parametrize("level", LEVELS)
def test_a_tree_is_pulled_as_it_is(pair, level, mode, share, tmp_path):
    need_level(pair, level)
    trees.make_tree(str(share / "tree"))
    files, size, links, directories = census(share / "tree")
    copy = tmp_path / "new" / "copy"
    with pair.serving(share, mode=mode) as served:
        report = served.pull("share/tree", copy, compression_level=level)
        serving.until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        stats = served.server.get_stats()
    assert_equal_trees(copy, share / "tree")
    fields = {"files_copied": files, "bytes_copied": size, "symlinks_copied": links}
    assert_report(report, pair.client, directories_created=directories + 2, **fields)
    assert_level(report, level, report.bytes_received)
    assert (stats["bytes_received"], stats["bytes_sent"]) == (report.bytes_sent, report.bytes_received)
    assert stats["files_sent"] == files and stats["errors"] == 0
    assert os.listdir(tmp_path / "new") == ["copy"] and os.listdir(share) == ["tree"]


@pytest.mark.parametrize("token", [None, serving.TOKEN], ids=["no token", "token"])
def test_without_shares_a_local_path_is_enough(pair, source, tmp_path, token):
    copy = tmp_path / "copy"
    with pair.serving({}, mode="file", token=token) as served:
        report = py_eacopy.copy_with_server(
            str(source), str(copy), "127.0.0.1", served.port, token=token, config=served.config()
        )
        assert_equal_trees(copy, source)
        assert report.server and report.files_copied == census(source)[0]
        # Pulled from the same place, which path_map says is on a server.
        back = tmp_path / "back"
        config = served.config(path_map={str(tmp_path / "mount"): str(copy)})
        report = py_eacopy.copy_with_server(
            tmp_path / "mount" / "sub", back, "127.0.0.1", served.port, token=token, config=config
        )
        assert report.server
    assert_equal_trees(back, source / "sub")
    until_tidy(tmp_path)


# What a tree may hold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, "auto"])
def test_odd_names_survive_a_push_and_a_pull(pair, level, share, tmp_path):
    source = os.fsencode(tmp_path / "source")
    os.mkdir(source)
    for number, name in enumerate(ODD_NAMES):
        path = os.path.join(source, name)
        if number % 3 == 0:
            os.mkdir(path)
            trees.write(os.path.join(path, name), b"in a directory of the same name")
        elif number % 3 == 1:
            trees.write(path, b"%d" % number)
        else:
            os.symlink(name + b" and more"[: 255 - len(name)], path)
    with pair.serving(share) as served:
        served.push(source, b"share/" + ODD_NAMES[2], compression_level=level)
        copy = os.path.join(os.fsencode(share), ODD_NAMES[2])
        assert_equal_trees(copy, source)
        served.pull(b"share/" + ODD_NAMES[2], os.fsencode(tmp_path / "back"), compression_level=level)
    assert_equal_trees(tmp_path / "back", source)


def test_empty_trees_and_deep_ones(pair, share, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ("/".join("d%02d" % n for n in range(60)))).mkdir(parents=True)
    (tmp_path / "deep" / ("/".join("d%02d" % n for n in range(60))) / "leaf").write_bytes(b"leaf")
    for name in ("empty", "deep"):
        os.utime(tmp_path / name, ns=(1, 1_234_567_890_123_456_789))
        with pair.serving(share) as served:
            report = served.push(tmp_path / name, "share/" + name)
            assert_equal_trees(share / name, tmp_path / name)
            assert report.files_copied == (name == "deep")
            report = served.pull("share/" + name, tmp_path / "back" / name)
            assert_equal_trees(tmp_path / "back" / name, tmp_path / name)
            assert report.files_copied == (name == "deep")


def test_modes_times_and_attributes(pair, share, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    files = {"s": 0o4755, "sticky": 0o1644, "read only": 0o444, "all": 0o777}
    files.update({"none": 0o000} if os.geteuid() == 0 else {})
    for number, (name, mode) in enumerate(files.items()):
        trees.write(source / name, name.encode())
        trees.set_attribute(source / name, "user.long", b"\0\xff" * 1000)
        os.chmod(source / name, mode)
        os.utime(source / name, ns=(1_700_000_000_000_000_001 + number, 1_600_000_000_123_456_789 + number))
    trees.write(source / "before 1970", b"old")
    os.utime(source / "before 1970", ns=(-1_000_000_001, -1_000_000_001))
    (source / "locked").mkdir()
    trees.write(source / "locked" / "in", b"in")
    trees.set_attribute(source / "locked", "user.kind", b"directory")
    os.chmod(source / "locked", 0o500)
    os.chmod(source, 0o750)
    os.utime(source, ns=(5, 1_500_000_000_000_000_007))
    trees.write(tmp_path / "access", b"1")
    wanted = {name: os.stat(source / name).st_atime_ns for name in files}
    # Only a session that proved to be the server's own user may set bits such as set-user-ID.
    with pair.serving(share, mode="file") as served:
        served.push(source, "share/copy")
        got = {name: os.stat(share / "copy" / name).st_atime_ns for name in files}
        assert_equal_trees(share / "copy", source)
        served.pull("share/copy", tmp_path / "back")
    assert_equal_trees(tmp_path / "back", source)
    assert got == wanted


def test_without_metadata_only_modes_are_kept(pair, share, source, tmp_path):
    with pair.serving(share) as served:
        served.push(source, "share/copy", preserve_metadata=False)
        served.pull("share/copy", tmp_path / "back", preserve_metadata=False)
    for copy in (share / "copy", tmp_path / "back"):
        assert_equal_trees(copy, source, metadata=False)
        for name in ("sub/private", "sub/program", "page"):
            assert stat.S_IMODE(os.stat(copy / name).st_mode) == stat.S_IMODE(os.stat(source / name).st_mode)
        assert os.stat(copy / "page").st_mtime_ns != os.stat(source / "page").st_mtime_ns
        assert trees.attributes(str(copy / "page")) == {}


@pytest.mark.parametrize("settings", [{"verify": True}, {"fsync": True}, {"thread_count": 1}, {"buffer_size": 4096}])
def test_settings_change_nothing_in_the_result(pair, share, source, tmp_path, settings):
    with pair.serving(share) as served:
        served.push(source, "share/copy", **settings)
        served.pull("share/copy", tmp_path / "back", **settings)
    assert_equal_trees(share / "copy", source)
    assert_equal_trees(tmp_path / "back", source)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file system with holes")
@pytest.mark.parametrize("level", [0, "auto"])
def test_a_sparse_file_of_3_gigabytes_keeps_its_holes(pair, level, share, tmp_path):
    size = 3 << 30
    pieces = ((1 << 20, b"near the start"), (2 << 30, trees.make_bytes(300_000)), (size - 5, b"end.."))
    trees.make_sparse(tmp_path / "sparse", size, pieces)
    trees.make_sparse(tmp_path / "hole at the end", 1 << 30, ((0, b"start"),))
    trees.make_sparse(tmp_path / "nothing but hole", 1 << 30, ())
    with pair.serving(share) as served:
        for name in ("sparse", "hole at the end", "nothing but hole"):
            report = served.push(tmp_path / name, "share/" + name, compression_level=level)
            assert report.bytes_copied == os.path.getsize(tmp_path / name) and report.bytes_sent < 1 << 21
            report = served.pull("share/" + name, tmp_path / ("back " + name), compression_level=level)
            assert report.bytes_copied == os.path.getsize(tmp_path / name) and report.bytes_received < 1 << 21
    for copy in (share, tmp_path):
        prefix = "back " if copy is tmp_path else ""
        for name, whole in (("sparse", size), ("hole at the end", 1 << 30), ("nothing but hole", 1 << 30)):
            status = os.stat(copy / (prefix + name))
            assert status.st_size == whole and status.st_blocks * 512 < 2 << 20, (copy, name, status)
        with open(copy / (prefix + "sparse"), "rb") as stream:
            for offset, data in pieces:
                stream.seek(offset)
                assert stream.read(len(data)) == data
            stream.seek(1 << 30)
            assert stream.read(1 << 20) == bytes(1 << 20)


def test_10000_files(pair, share, tmp_path):
    total, level = (10_000, "auto") if pair.client == pair.server else (1_000, 0)
    source = tmp_path / "source"
    for number in range(total):
        directory = source / ("%02d" % (number % 50)) / ("%d" % (number % 3))
        if number < 150:
            directory.mkdir(parents=True, exist_ok=True)
        trees.write(directory / ("%d" % number), b"%d " % number * (number % 40))
    size = sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(source) for name in names)
    with pair.serving(share) as served:
        report = served.push(source, "share/copy", compression_level=level)
        assert (report.files_copied, report.bytes_copied) == (total, size)
        again = served.push(source, "share/again", compression_level=level)
        assert (again.files_linked, again.bytes_linked, again.files_copied) == (total, size, 0)
        report = served.pull("share/again", tmp_path / "back", compression_level=level)
        assert (report.files_copied, report.bytes_copied) == (total, size)
    assert_equal_trees(share / "copy", source)
    assert_equal_trees(tmp_path / "back", source)


# Single files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 300_001, (9 << 20) + 13])
@pytest.mark.parametrize("level", LEVELS)
def test_a_single_file_there_and_back(pair, level, size, share, tmp_path):
    need_level(pair, level)
    trees.write(tmp_path / "file", trees.make_bytes(size))
    trees.set_attribute(tmp_path / "file", "user.colour", b"green")
    os.chmod(tmp_path / "file", 0o640)
    os.utime(tmp_path / "file", ns=(1, 1_500_000_000_123_456_789))
    (share / "folder").mkdir()
    (tmp_path / "folder").mkdir()

    def look(path):
        status = os.stat(path)
        return trees.read(path), stat.S_IMODE(status.st_mode), status.st_mtime_ns, trees.attributes(str(path))

    with pair.serving(share) as served:
        report = served.push(tmp_path / "file", "share/new/name", compression_level=level)
        assert (report.files_copied, report.bytes_copied) == (1, size)
        report = served.push(tmp_path / "file", "share/folder", compression_level=level)
        assert report.files_copied + report.files_linked == 1
        report = served.pull("share/new/name", tmp_path / "back", compression_level=level)
        assert (report.files_copied, report.bytes_copied, report.directories_created) == (1, size, 0)
        served.pull("share/new/name", tmp_path / "folder", compression_level=level)
    copies = (share / "new" / "name", share / "folder" / "file", tmp_path / "back", tmp_path / "folder" / "name")
    for copy in copies:
        assert look(copy) == look(tmp_path / "file"), copy


def test_a_file_in_the_place_of_another_replaces_it_and_keeps_its_other_names(pair, share, tmp_path):
    trees.write(tmp_path / "file", b"new")
    for folder in (share, tmp_path):
        trees.write(folder / "old", b"old and longer")
        os.link(folder / "old", folder / "other name")
    with pair.serving(share) as served:
        served.push(tmp_path / "file", "share/old")
        assert trees.read(share / "old") == b"new" and trees.read(share / "other name") == b"old and longer"
        served.pull("share/old", tmp_path / "old")
        assert trees.read(tmp_path / "old") == b"new" and trees.read(tmp_path / "other name") == b"old and longer"


def test_a_tree_is_merged_into_what_is_there(pair, share, source, tmp_path):
    for place in (share / "copy", tmp_path / "back"):
        (place / "sub" / "only here").mkdir(parents=True)
        trees.write(place / "sub" / "kept", b"kept")
        trees.write(place / "one", b"another content")
        os.symlink("elsewhere", place / "link to one")
    with pair.serving(share) as served:
        served.push(source, "share/copy")
        served.pull("share/copy", tmp_path / "back")
    wanted = trees.snapshot(source)
    for place in (share / "copy", tmp_path / "back"):
        found = trees.snapshot(place)
        assert found.pop(b"sub/kept")[1] == b"kept" and found.pop(b"sub/only here")[0] == "directory"
        assert found == wanted


def test_a_directory_in_the_place_of_a_file_is_an_error_and_the_rest_is_copied(pair, share, source, tmp_path):
    for place in (share / "copy", tmp_path / "back"):
        (place / "page" / "inside").mkdir(parents=True)
    with pair.serving(share) as served:
        served.push(source, "share/whole")
        with pytest.raises(shutil.Error) as caught:
            served.push(source, "share/copy")
        (error,) = caught.value.errors
        assert isinstance(error, IsADirectoryError) and error.filename == str(source / "page")
        assert os.path.isdir(share / "copy" / "page" / "inside")
        with pytest.raises(shutil.Error) as caught:
            served.pull("share/whole", tmp_path / "back")
        (error,) = caught.value.errors
        assert isinstance(error, IsADirectoryError) and error.filename2 == str(tmp_path / "back" / "page")
        assert os.path.isdir(tmp_path / "back" / "page" / "inside")
    for copy in (share / "copy", tmp_path / "back"):
        assert trees.read(copy / "sub" / "large") == trees.read(source / "sub" / "large")


def test_a_file_in_the_place_of_a_directory_is_an_error_and_the_rest_is_copied(pair, share, source, tmp_path):
    (share / "copy").mkdir()
    trees.write(share / "copy" / "sub", b"a file")
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error) as caught:
            served.push(source, "share/copy")
        assert all(str(error.filename).startswith(str(source / "sub")) for error in caught.value.errors)
        assert trees.read(share / "copy" / "sub") == b"a file"
        assert trees.read(share / "copy" / "page") == trees.read(source / "page")
        trees.write(tmp_path / "file", b"a file")
        with pytest.raises(py_eacopy.EACopyError):
            served.push(source, "share/copy/sub")
        with pytest.raises(py_eacopy.EACopyError):
            served.pull("share/copy", tmp_path / "file")
    assert trees.read(tmp_path / "file") == b"a file"


def test_symbolic_links_are_kept_or_followed(pair, share, source, tmp_path):
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error) as caught:
            served.push(source, "share/followed", symlinks=False)
        assert [error.filename for error in caught.value.errors] == [str(source / "dangling")]
        os.unlink(source / "dangling")
        report = served.push(source, "share/followed too", symlinks=False)
        assert report.symlinks_copied == 0
        os.symlink("nowhere", source / "dangling")
        served.push(source, "share/ignored", symlinks=False, ignore_dangling_symlinks=True)
        for name in ("followed", "followed too", "ignored"):
            copy = share / name
            assert not os.path.lexists(copy / "dangling")
            assert trees.read(copy / "link to one") == b"1" and not os.path.islink(copy / "link to one")
            assert_equal_trees(copy / "link to sub", source / "sub")
        served.push(source, "share/kept")
        with pytest.raises(shutil.Error) as caught:
            served.pull("share/kept", tmp_path / "back", symlinks=False)
        names = sorted(os.path.basename(error.filename) for error in caught.value.errors)
        assert names == ["dangling", "link to one", "link to sub"]
        told = {(error.kind, error.errno, error.destination) for error in caught.value.errors}
        assert told == {(py_eacopy.ErrorKind.UNSUPPORTED, errno.ENOTSUP, "absent")}
    assert trees.read(tmp_path / "back" / "page") == trees.read(source / "page")


def test_a_loop_of_links_and_special_files_are_errors_of_their_own(pair, share, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    trees.write(source / "file", b"content")
    os.mkfifo(source / "fifo")
    (source / "sub").mkdir()
    os.symlink("..", source / "sub" / "loop")
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error) as caught:
            served.push(source, "share/copy", symlinks=False)
        names = sorted(os.path.basename(error.filename) for error in caught.value.errors if error.filename)
        assert names == ["fifo", "loop"]
        assert trees.read(share / "copy" / "file") == b"content"
        assert os.listdir(share / "copy" / "sub") == []
        os.mkfifo(share / "copy" / "fifo")
        with pytest.raises(shutil.Error) as caught:
            served.pull("share/copy", tmp_path / "back")
        assert [os.path.basename(error.filename) for error in caught.value.errors] == ["fifo"]
        assert trees.read(tmp_path / "back" / "file") == b"content"


def test_what_is_in_the_way_is_told_in_the_same_way(pair, share, tmp_path):
    source, taken = tmp_path / "source", tmp_path / "taken"
    (source / "sub").mkdir(parents=True)
    trees.write(source / "file", b"content")
    trees.write(taken, b"a file")
    (share / "tree").mkdir()
    trees.write(share / "tree" / "sub", b"a file")
    exists, no_directory = py_eacopy.ErrorKind.DESTINATION_EXISTS, py_eacopy.ErrorKind.PATH
    missing = py_eacopy.ErrorKind.FILE_NOT_FOUND
    made, opened = Operation.MAKE_DIRECTORY, Operation.OPEN_DESTINATION
    with pair.serving(share) as served:
        cases = [
            # What a pull would replace is there or not; of a push only the server could know.
            (served.pull, "share/tree", taken, exists, errno.EEXIST, made, "old"),
            (served.pull, "share/tree", taken / "below", no_directory, errno.ENOTDIR, made, "absent"),
            (served.pull, "share/tree/sub", taken / "below", no_directory, errno.ENOTDIR, opened, "absent"),
            (served.pull, "share/nothing", taken, missing, errno.ENOENT, Operation.OPEN_SOURCE, "old"),
            (served.pull, "share/nothing", tmp_path / "new", missing, errno.ENOENT, Operation.OPEN_SOURCE, "absent"),
            (served.push, source, "share/tree/sub", no_directory, errno.ENOTDIR, opened, None),
            (served.push, source / "file", "share/tree/sub/file", no_directory, errno.ENOTDIR, opened, None),
            (served.push, source, "share/tree", exists, errno.EEXIST, made, None),
        ]
        for copy, from_path, to_path, *wanted in cases:
            with pytest.raises((py_eacopy.EACopyError, shutil.Error)) as caught:
                copy(from_path, to_path)
            error = caught.value.errors[0] if isinstance(caught.value, py_eacopy.TreeError) else caught.value
            assert [error.kind, error.errno, error.operation, error.destination] == wanted, (from_path, to_path)
    assert trees.read(taken) == b"a file" and trees.read(share / "tree" / "sub") == b"a file"


def test_a_session_that_is_refused_counts_as_an_error(pair, share, tmp_path):
    with pair.serving(share) as served:
        for number in (1, 2):
            with pytest.raises(FileNotFoundError):
                served.pull("share/nothing", tmp_path / "copy")
            serving.until(lambda number=number: served.server.get_stats()["errors"] == number, "it does not count")


def test_a_refused_session_is_tried_again_under_retry(pair, share, tmp_path):
    retry = {"error_strategy": "retry", "retry_count": 2, "retry_delay": 0.0}
    with pair.serving(share) as served:
        with pytest.raises(FileNotFoundError):
            served.pull("share/nothing", tmp_path / "copy", **retry)
        serving.until(lambda: served.server.get_stats()["errors"] >= 3, "it was not tried three times")
        assert served.server.get_stats()["connections"] == 3
    with pair.serving(share, mode="token") as served:
        with pytest.raises(PermissionError):
            served.pull("share/nothing", tmp_path / "copy", token="another", **retry)
        assert served.server.get_stats()["connections"] == 1


# Twice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, "auto"])
def test_what_is_there_is_skipped_and_what_is_known_is_linked(pair, level, share, source):
    files, size, links, directories = census(source)
    with pair.serving(share) as served:
        first = served.push(source, "share/one", compression_level=level)
        second = served.push(source, "share/one", compression_level=level)
        assert_report(
            second, pair.client, files_skipped=files, bytes_skipped=size, symlinks_copied=second.symlinks_copied
        )
        assert second.symlinks_copied in (0, links) and second.bytes_sent < first.bytes_copied / 20
        third = served.push(source, "share/two", compression_level=level)
        assert (third.files_linked, third.bytes_linked) == (files, size)
        assert (third.files_copied, third.files_skipped, third.bytes_copied) == (0, 0, 0)
        assert third.bytes_sent < first.bytes_copied / 20
        stats = served.server.get_stats()
    assert_equal_trees(share / "one", source)
    assert_equal_trees(share / "two", source)
    for name in ("page", "sub/large", "line\nbreak/new\nline"):
        one, two = os.stat(share / "one" / name), os.stat(share / "two" / name)
        assert one.st_ino == two.st_ino or trees.shared_bytes(str(share / "two" / name)) >= two.st_size
    assert (stats["files_skipped"], stats["bytes_skipped"]) == (files, size)
    assert (stats["files_linked"], stats["bytes_linked"]) == (files, size)
    assert stats["files_received"] == files and stats["history_size"] >= files


def test_a_server_that_remembers_nothing_skips_what_is_there(pair, share, source):
    files, size, _, _ = census(source)
    with pair.serving(share) as served:
        served.push(source, "share/copy")
    with pair.serving(share) as served:
        report = served.push(source, "share/copy")
        assert (report.files_skipped, report.bytes_skipped, report.files_copied) == (files, size, 0)
        # And what was skipped is known from now on.
        report = served.push(source, "share/other")
        assert report.files_linked + report.files_copied == files
    assert_equal_trees(share / "other", source)


def test_only_what_has_changed_is_sent(pair, share, source):
    files, _, _, _ = census(source)
    with pair.serving(share) as served:
        served.push(source, "share/copy")
        trees.write(source / "page", b"shorter")  # and so "page again", which is the same file
        trees.write(source / "sub" / "large", trees.make_bytes((3 << 20) + 17, 5))
        trees.write(source / "added", b"added")
        os.utime(source / "one", ns=(1, 2))
        os.unlink(source / "link to one")
        os.symlink("page", source / "link to one")
        os.chmod(source / "sub" / "program", 0o700)
        report = served.push(source, "share/copy")
        assert (report.files_copied, report.files_skipped + report.files_linked) == (5, files - 4)
        assert_equal_trees(share / "copy", source)


def test_a_second_pull_gives_the_same_tree(pair, share, source, tmp_path):
    with pair.serving(share) as served:
        served.push(source, "share/copy")
        served.pull("share/copy", tmp_path / "back")
        trees.write(tmp_path / "back" / "page", b"changed here")
        served.pull("share/copy", tmp_path / "back")
    assert_equal_trees(tmp_path / "back", source)
    until_tidy(share, tmp_path)


@pytest.mark.parametrize("kind", filesystems.CLONING)
def test_where_the_file_system_clones_what_is_known_is_a_reflink(pair, kind, mounts, source):
    share = mounts.shared(kind)
    files, size, _, _ = census(source)
    for link_mode in ("auto", "reflink"):
        with pair.serving(share, link_mode=link_mode) as served:
            served.push(source, f"share/{link_mode} one")
            report = served.push(source, f"share/{link_mode} two")
            assert (report.files_linked, report.bytes_linked, report.files_copied) == (files, size, 0)
            one, two = os.path.join(share, f"{link_mode} one"), os.path.join(share, f"{link_mode} two")
            assert_equal_trees(two, source)
            large = os.path.join("sub", "large")
            assert os.stat(os.path.join(one, large)).st_ino != os.stat(os.path.join(two, large)).st_ino
            assert trees.shared_bytes(os.path.join(two, large)) >= 3 << 20
    mounts.clean()
