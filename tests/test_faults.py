"""Errors injected at the system-call boundary: at the first call, after partial progress, and at every call in turn."""

import errno
import os
import re
import signal
import subprocess
import sys

import pytest
from faults import filesystems, harness, trees
from faults.harness import DATA, METHODS, MOVES, NO_CLONE, REMOTE, Workplace, rule

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="faults are injected by LD_PRELOAD, on Linux only"
)

#: "Not supported here, use the next method, if nothing was copied yet."
NOT_BY_COPY_FILE_RANGE = [
    "ENOSYS",
    "ENOTTY",
    "EOPNOTSUPP",
    "EINVAL",
    "EBADF",
    "EXDEV",
    "ETXTBSY",
    "EPERM",
    "EACCES",
    "EIO",
    "ENOENT",
    "EOVERFLOW",
    "EFBIG",
]
NOT_BY_CLONE = ["EOPNOTSUPP", "ENOTTY", "EINVAL", "EBADF", "EXDEV", "ETXTBSY", "EPERM", "EACCES"]
NOT_BY_SENDFILE = ["EINVAL", "ENOSYS", "EPERM"]
PIECE = 65536


def number_of(name):
    return getattr(errno, name) if name.startswith("E") else int(name)


@pytest.fixture
def place(backend, tmp_path):
    harness.shim()
    return Workplace(backend, tmp_path)


@pytest.fixture(scope="module")
def mounts():
    mounts = filesystems.Mounts()
    yield mounts
    mounts.close()


# The shim itself -------------------------------------------------------------------------------------------------


def preloaded(command, directory, *rules):
    """Runs a command under the shim; returns it and the shim's log."""
    log = str(directory) + ".log"
    trees.write(log, b"")
    environment = dict(
        os.environ, LD_PRELOAD=harness.shim(), FAULT_WATCH=str(directory), FAULT_LOG=log, FAULT_RULES="\n".join(rules)
    )
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    with open(log, encoding="ascii") as stream:
        return done, [harness._parse(line) for line in stream]


@pytest.mark.parametrize(
    "family, expression",
    [
        ("copy_file_range", "os.copy_file_range(source, target, 4)"),
        ("sendfile", "os.sendfile(target, source, 0, 4)"),
        ("clone", "fcntl.ioctl(target, 0x40049409, source)"),
        ("read", "os.read(source, 4)"),
        ("read", "os.pread(source, 4, 0)"),
        ("write", "os.write(target, b'1234')"),
        ("write", "os.pwrite(target, b'1234', 0)"),
        ("open_read", "os.open('source', os.O_RDONLY)"),
        ("open_write", "os.open('new', os.O_WRONLY | os.O_CREAT)"),
        ("open_read", "os.scandir('.')"),
        ("readdir", "os.listdir('.')"),
        ("stat", "os.stat('source')"),
        ("stat", "os.fstat(source)"),
        ("chmod", "os.fchmod(target, 0o600)"),
        ("chmod", "os.chmod('target', 0o600)"),
        ("utime", "os.utime('target')"),
        ("utime", "os.utime(target)"),
        ("setxattr", "os.setxattr(target, 'user.a', b'1')"),
        ("setxattr", "os.setxattr('target', 'user.a', b'1')"),
        ("listxattr", "os.listxattr(source)"),
        ("getxattr", "os.getxattr(source, 'user.a')"),
        ("truncate", "os.ftruncate(target, 1)"),
        ("fallocate", "os.posix_fallocate(target, 0, 10)"),
        ("fsync", "os.fsync(target)"),
        ("fsync", "os.fdatasync(target)"),
        ("close", "os.close(target)"),
        ("rename", "os.rename('target', 'new')"),
        ("rename", "os.rename('target', 'new', src_dir_fd=here, dst_dir_fd=here)"),
        ("link", "os.link('target', 'new')"),
        ("unlink", "os.unlink('target')"),
        ("unlink", "os.unlink('target', dir_fd=here)"),
        ("mkdir", "os.mkdir('new')"),
        ("mkdir", "os.mkdir('new', dir_fd=here)"),
        ("rmdir", "os.rmdir('empty')"),
        ("symlink", "os.symlink('source', 'new')"),
        ("readlink", "os.readlink('link')"),
        ("seek", "os.lseek(source, 0, os.SEEK_SET)"),
        ("seek_data", "os.lseek(source, 0, os.SEEK_DATA)"),
        ("seek_hole", "os.lseek(source, 0, os.SEEK_HOLE)"),
    ],
)
def test_shim_makes_a_plain_call_fail_with_the_errno_asked_for_and_logs_it(family, expression, tmp_path):
    trees.write(tmp_path / "source", b"12345678")
    trees.write(tmp_path / "target", b"old")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("source")
    code = (
        "import os, fcntl, sys\nos.chdir(sys.argv[1])\n"
        "source, here = os.open('source', os.O_RDONLY), os.open('.', os.O_RDONLY)\n"
        "target = os.open('target', os.O_RDWR)\n"
        f"try: {expression}\n"
        "except OSError as error: print(error.errno)\n"
    )
    skip = 2 if family == "open_read" else 0  # the two of the line above
    skip += 1 if family == "open_write" else 0
    done, calls = preloaded(
        [sys.executable, "-c", code, str(tmp_path)],
        tmp_path,
        rule(family, errno=errno.EXFULL, skip=skip, path=str(tmp_path)),
    )
    assert done.stdout.split() == [str(errno.EXFULL)], done
    assert (family, errno.EXFULL) in [(call.family, call.errno) for call in calls if call.injected]
    done, calls = preloaded([sys.executable, "-c", code, str(tmp_path)], tmp_path)
    assert not [call for call in calls if call.injected], "without a rule nothing is injected"


def test_shim_makes_cp_fail_and_shows_its_calls(tmp_path):
    trees.write(tmp_path / "source", trees.make_bytes(300000))
    done, calls = preloaded(
        ["cp", "--reflink=never", str(tmp_path / "source"), str(tmp_path / "target")],
        tmp_path,
        rule("copy_file_range|read", errno=errno.EIO, skip=1, path="source"),
    )
    assert done.returncode == 1 and os.strerror(errno.EIO) in done.stderr
    assert [call for call in calls if call.family == "open_write" and call.path == str(tmp_path / "target")]


def test_shim_shortens_zeroes_and_corrupts(tmp_path):
    trees.write(tmp_path / "source", b"12345678")
    code = (
        "import os, sys\nos.chdir(sys.argv[1])\ntarget = os.open('target', os.O_WRONLY | os.O_CREAT)\n"
        "print(*[os.write(target, data) for data in (b'aaaa', b'bbbb', b'cccc', b'dddd')])"
    )
    done, calls = preloaded(
        [sys.executable, "-c", code, str(tmp_path)],
        tmp_path,
        rule("write", short=3, count=1),
        rule("write", "zero", skip=1, count=1),
        rule("write", "corrupt", skip=2, count=1),
    )
    assert done.stdout.split() == ["3", "0", "4", "4"], done
    assert trees.read(tmp_path / "target") == b"aaa" + b"cc\x9cc" + b"dddd"
    assert [(call.result, call.injected) for call in calls if call.family == "write"] == [
        (3, True),
        (0, True),
        (4, True),
        (4, False),
    ]


@pytest.mark.parametrize("call", ["os.copy_file_range(source, target, 100)", "os.sendfile(target, source, 0, 100)"])
def test_shim_corrupts_what_the_kernel_copies(call, tmp_path):
    data = trees.make_bytes(100)
    trees.write(tmp_path / "source", data)
    code = (
        "import os, sys\nos.chdir(sys.argv[1])\n"
        "source, target = os.open('source', 0), os.open('target', os.O_WRONLY | os.O_CREAT)\n" + call
    )
    done, _ = preloaded(
        [sys.executable, "-c", code, str(tmp_path)], tmp_path, rule("copy_file_range|sendfile", "corrupt")
    )
    assert not done.returncode, done.stderr
    got = trees.read(tmp_path / "target")
    assert len(got) == 100 and sum(a != b for a, b in zip(got, data)) == 1


def test_shim_runs_a_command_just_before_a_call(tmp_path):
    trees.write(tmp_path / "source", b"before")
    source = str(tmp_path / "source")
    code = "import sys\nprint(open(sys.argv[1]).read())"
    done, _ = preloaded([sys.executable, "-c", code, source], tmp_path, rule("read", run=f"printf after > '{source}'"))
    assert done.stdout.strip() == "after", done


def test_a_child_that_hangs_is_ended_and_told_from_one_that_fails(place):
    assert place.execute("while True: pass", timeout=1).signal == signal.SIGALRM
    outcome = place.execute("raise LookupError('a reason')")
    assert outcome.error.is_a("LookupError") and outcome.error.text == "a reason"


# Without any fault -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_copy_without_faults_goes_well(place, function, existing):
    outcome = place.copy(function=function, existing=existing)
    place.assert_copied(outcome)
    assert outcome.result == place.destination and not outcome.injected()


@pytest.mark.parametrize("method", METHODS)
def test_each_method_can_be_had_by_taking_away_those_before_it(place, method):
    outcome = place.copy(*METHODS[method])
    place.assert_copied(outcome)
    moved = [call for call in outcome.of(DATA) if call.result > 0]
    assert {call.family for call in moved} == {method}


# copy_file_range -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOT_BY_COPY_FILE_RANGE)
def test_copy_file_range_refused_at_first_gives_way_to_the_next_method(place, name):
    outcome = place.copy(*METHODS["copy_file_range"], rule("copy_file_range", errno=number_of(name)))
    assert outcome.injected("copy_file_range"), "it was not even tried"
    place.assert_copied(outcome)


@pytest.mark.parametrize("family", ["copy_file_range", "sendfile", "read", "write"])
@pytest.mark.parametrize("skip", [0, 1], ids=["first call", "after progress"])
def test_a_call_interrupted_by_a_signal_is_made_again(place, family, skip):
    method = METHODS.get("write" if family == "read" else family)
    rules = [rule(family, short=PIECE, count=1), rule(family, errno=errno.EINTR, skip=1, count=1)] if skip else []
    rules = rules or [rule(family, errno=errno.EINTR, count=1)]
    outcome = place.copy(*method, *rules)
    assert [call for call in outcome.injected(family) if call.errno == errno.EINTR]
    place.assert_copied(outcome)


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "ENOMEM"])
def test_copy_file_range_failing_for_good_at_first_is_reported_or_overcome_by_another_method(place, name):
    outcome = place.copy(*METHODS["copy_file_range"], rule("copy_file_range", errno=number_of(name)))
    assert outcome.injected("copy_file_range")
    place.assert_right_or_reported(outcome)
    if outcome.error is not None:
        assert outcome.error.errno == number_of(name)
        assert outcome.error.kind == ("WRITE_ERROR" if name == "ENOMEM" else "DISK_FULL")


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EINVAL", "EXDEV", "EBADF", "EOPNOTSUPP"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_failure_after_part_was_copied_goes_on_from_there_or_is_reported(place, method, name, existing):
    rules = [rule(method, short=PIECE, count=1), rule(method, errno=number_of(name), skip=1)]
    outcome = place.copy(*METHODS[method], *rules, existing=existing)
    assert [call for call in outcome.injected(method) if call.errno == number_of(name)]
    if outcome.error is None:
        place.assert_copied(outcome)
        assert place.written(outcome) == len(place.data), "it began again from the start"
    else:
        error = place.assert_failed(outcome, number_of(name))
        assert error.offset == PIECE
        assert error.destination == ("partial" if existing else "absent")


def test_a_first_zero_of_copy_file_range_is_not_taken_for_the_end(place):
    outcome = place.copy(*METHODS["copy_file_range"], rule("copy_file_range", "zero"))
    assert outcome.injected("copy_file_range")
    place.assert_copied(outcome)


@pytest.mark.parametrize("method", ["copy_file_range", "sendfile"])
def test_a_zero_in_the_middle_does_not_end_a_copy_short_in_silence(place, method):
    outcome = place.copy(*METHODS[method], rule(method, short=PIECE, count=1), rule(method, "zero", skip=1))
    assert [call for call in outcome.injected(method) if call.result == 0]
    place.assert_right_or_reported(outcome)


def test_a_first_zero_of_sendfile_does_not_end_a_copy_in_silence(place):
    outcome = place.copy(*METHODS["sendfile"], rule("sendfile", "zero"))
    assert outcome.injected("sendfile")
    place.assert_right_or_reported(outcome)


@pytest.mark.parametrize("method", METHODS)
def test_short_counts_are_gone_on_from(place, method):
    outcome = place.copy(*METHODS[method], rule(method, short=9973))
    assert len(outcome.injected(method)) > 300
    place.assert_copied(outcome)


def test_short_reads_are_gone_on_from(place):
    outcome = place.copy(*METHODS["write"], rule("read", short=9973, path="source"))
    assert len(outcome.injected("read")) > 300
    place.assert_copied(outcome)


@pytest.mark.parametrize("release", ["4.19.0-generic", "5.2.21"])
def test_copy_file_range_is_not_used_on_kernels_that_have_it_broken(place, release):
    environment = dict(
        os.environ,
        LD_PRELOAD=harness.shim(),
        FAULT_WATCH=place.directory,
        FAULT_RULES="\n".join([rule("uname", release=release), REMOTE, NO_CLONE]),
        FAULT_LOG=os.path.join(os.path.dirname(place.directory), "uname.log"),
        PYTHONPATH=os.pathsep.join(filter(None, sys.path)),
    )
    code = (
        "import py_eacopy, sys\n"
        "py_eacopy.copyfile(sys.argv[1], sys.argv[2], config=py_eacopy.Config(backend=sys.argv[3]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, place.source, place.destination, place.backend], env=environment, check=True
    )
    assert place.state == "new"
    with open(environment["FAULT_LOG"], encoding="ascii") as stream:
        calls = [harness._parse(line) for line in stream]
    assert [call for call in calls if call.family == "uname"], "nothing asked for the version"
    assert not [call for call in calls if call.family == "copy_file_range"]


def test_no_call_moves_more_than_the_kernel_and_libc_are_right_about(place):
    trees.make_sparse(place.source, 3 << 30, ((0, b"begin"), ((3 << 30) - 3, b"end")))
    for method, most in (("copy_file_range", 1 << 30), ("sendfile", 0x7FFFF000)):
        # On a file system that cannot tell holes, everything is data.
        blind = rule("seek_data|seek_hole", errno=errno.EINVAL)
        stop = rule(method, errno=errno.ENOSPC, skip=2)
        outcome = place.copy(*METHODS[method], blind, rule(method, short=PIECE, count=2), stop, existing=False)
        asked = [call.argument for call in outcome.of(method)]
        assert asked and max(asked) <= most, asked


@pytest.mark.parametrize("function", ["copyfile", "copytree"])
def test_reflink_never_uses_no_call_that_may_clone(place, function):
    target = place.destination
    source = place.source
    if function == "copytree":
        source, target = os.path.dirname(place.destination), os.path.join(place.directory, "copy")
        trees.write(place.destination, place.data)
    outcome = place.call(function, source, target, config={"reflink": "never"}, rules=[REMOTE])
    assert outcome.error is None, outcome
    assert not outcome.of("clone|copy_file_range") and outcome.of("sendfile|write|splice")


def test_io_uring_is_not_used(place):
    outcome = place.copy()
    place.assert_copied(outcome)
    assert not outcome.of("io_uring")


# Clone -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloning_directory(mounts):
    """On a file system that can clone, so that a clone is tried whatever is known beforehand."""
    return mounts.shared("btrfs")


@pytest.fixture
def cloning_place(backend, cloning_directory, request):
    directory = os.path.join(cloning_directory, re.sub(r"\W", "_", request.node.name))
    os.mkdir(directory)
    return Workplace(backend, directory)


def test_a_clone_is_made_where_it_can_be(cloning_place):
    outcome = cloning_place.copy()
    cloning_place.assert_copied(outcome)
    assert outcome.of("clone") and not [
        call for call in outcome.of("copy_file_range|sendfile|write") if call.result > 0
    ]


@pytest.mark.parametrize("name", NOT_BY_CLONE)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_clone_that_is_not_supported_gives_way_to_the_next_method(cloning_place, name, existing):
    outcome = cloning_place.copy(rule("clone", errno=number_of(name)), existing=existing)
    assert outcome.injected("clone")
    cloning_place.assert_copied(outcome)


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "ENOMEM", "EDQUOT"])
@pytest.mark.parametrize("reflink", ["auto", "always"])
def test_a_clone_that_fails_is_reported_and_not_tried_by_another_method(cloning_place, name, reflink):
    outcome = cloning_place.copy(rule("clone", errno=number_of(name)), config={"reflink": reflink})
    assert outcome.injected("clone")
    error = cloning_place.assert_failed(outcome, number_of(name))
    assert error.operation == "CLONE" and error.destination == "absent"
    assert not [call for call in outcome.of("copy_file_range|sendfile|write") if call.result > 0]


@pytest.mark.parametrize("name", NOT_BY_CLONE)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_reflink_always_fails_where_it_cannot_clone_and_leaves_no_empty_file(cloning_place, name, existing):
    outcome = cloning_place.copy(rule("clone", errno=number_of(name)), config={"reflink": "always"}, existing=existing)
    error = cloning_place.assert_failed(outcome, number_of(name))
    assert error.is_a("UnsupportedError") and error.operation == "CLONE"
    assert cloning_place.state == ("old" if existing else "absent")
    assert not [call for call in outcome.of("copy_file_range|sendfile|write") if call.result > 0]


def test_a_clone_that_did_nothing_is_noticed(cloning_place):
    outcome = cloning_place.copy(rule("clone", "zero"))
    assert outcome.injected("clone")
    cloning_place.assert_right_or_reported(outcome)


def test_a_clone_onto_a_longer_file_leaves_nothing_of_it(cloning_place):
    trees.write(cloning_place.destination, cloning_place.data + b"the old tail")
    cloning_place.assert_copied(cloning_place.call("copyfile", cloning_place.source, cloning_place.destination))


def test_where_a_clone_crosses_mounts_copy_file_range_is_tried(cloning_place):
    outcome = cloning_place.copy(rule("clone", errno=errno.EXDEV))
    cloning_place.assert_copied(outcome)
    assert [call for call in outcome.of("copy_file_range") if call.result > 0]
    assert trees.shared_bytes(cloning_place.destination) > len(cloning_place.data) // 2, (
        "copy_file_range clones on btrfs"
    )


# sendfile and read/write -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOT_BY_SENDFILE)
def test_sendfile_refused_at_first_gives_way_to_read_and_write(place, name):
    outcome = place.copy(*METHODS["sendfile"], rule("sendfile", errno=number_of(name)))
    assert outcome.injected("sendfile")
    place.assert_copied(outcome)


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("skip", [0, 1], ids=["first call", "after progress"])
def test_a_read_error_names_the_source_and_the_offset(place, skip, existing):
    rules = [rule("read", short=PIECE, count=1, path="source.bin")] if skip else []
    outcome = place.copy(
        *METHODS["write"], *rules, rule("read", errno=errno.EIO, skip=skip, path="source.bin"), existing=existing
    )
    error = place.assert_failed(outcome, errno.EIO)
    assert error.is_a("ReadError", "OSError") and error.kind == "READ_ERROR" and error.operation == "READ"
    assert error.path == place.source and error.filename == place.source and error.offset == skip * PIECE
    assert os.path.lexists(place.destination) == existing


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("skip", [0, 1], ids=["first call", "after progress"])
def test_a_write_error_names_the_destination_and_the_offset(place, skip, existing):
    rules = [rule("write", short=PIECE, count=1)] if skip else []
    outcome = place.copy(*METHODS["write"], *rules, rule("write", errno=errno.EIO, skip=skip), existing=existing)
    error = place.assert_failed(outcome, errno.EIO)
    assert error.is_a("WriteError", "OSError") and error.kind == "WRITE_ERROR" and error.operation == "WRITE"
    assert error.path == place.destination and error.filename2 == place.destination and error.offset == skip * PIECE
    assert error.destination == ("partial" if existing else "absent")


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_says_how_much_is_needed_and_free(place, name):
    outcome = place.copy(
        *METHODS["write"], rule("write", short=PIECE, count=1), rule("write", errno=number_of(name), skip=1)
    )
    error = place.assert_failed(outcome, number_of(name))
    assert error.is_a("DiskFullError", "OSError") and error.kind == "DISK_FULL" and error.destination == "absent"
    assert error.path == place.destination and error.needed == len(place.data) and error.available > 0


def test_a_write_that_takes_nothing_for_a_moment_is_survived(place):
    place.assert_right_or_reported(place.copy(*METHODS["write"], rule("write", "zero", count=1)))


@pytest.mark.parametrize("method", METHODS)
def test_calls_that_move_nothing_for_ever_end_in_an_error(place, method):
    outcome = place.copy(*METHODS[method], rule("copy_file_range|sendfile|write", "zero"), timeout=30)
    assert outcome.injected()
    assert outcome.signal != signal.SIGALRM, "it loops for ever"
    place.assert_failed(outcome)


def test_a_source_that_ends_before_its_size_is_not_waited_for(place):
    outcome = place.copy(*METHODS["write"], rule("read", "zero", path="source.bin"), timeout=30)
    assert outcome.signal != signal.SIGALRM, "it loops for ever"
    # Its size says 4 MB, its contents say nothing: an empty copy is as true as a report.
    assert outcome.error is not None or trees.read(place.destination) == b""


# Sparse files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP"])
@pytest.mark.parametrize("families", ["seek_data|seek_hole", "seek_hole"])
def test_a_file_system_that_cannot_tell_holes_gets_a_plain_copy(place, name, families):
    trees.make_sparse(place.source, 5 << 20, ((1 << 20, b"middle"), ((4 << 20) + 5, b"end")))
    place.data = trees.read(place.source)
    for rules in METHODS.values():
        place.assert_copied(place.copy(*rules, rule(families, errno=number_of(name))))


@pytest.mark.parametrize("change", ["truncate -s 0", "fallocate -p -o 0 -l 16777216", "truncate -s 1048576"])
@pytest.mark.parametrize("skip", range(4))
def test_the_search_for_holes_ends_when_the_file_changes_meanwhile(place, change, skip):
    trees.make_sparse(place.source, 16 << 20, ((1 << 20, b"a" * 9000), (5 << 20, b"b" * 9000), (12 << 20, b"c" * 9000)))
    before = trees.read(place.source)
    swap = rule("seek_data|seek_hole", run=f"{change} '{place.source}'", skip=skip, count=1)
    outcome = place.copy(swap, timeout=30)
    assert outcome.signal != signal.SIGALRM, "it loops for ever"
    if outcome.error is not None:
        assert outcome.error.is_a("EACopyError"), outcome
        return
    got = trees.read(place.destination)
    if change.startswith("truncate"):
        assert got == before[: len(got)], "zeros stand in for what was cut off"
    else:
        assert len(got) == len(before) and not got.translate(None, b"abc\0")


# Metadata --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ENOTSUP", "ENODATA", "EINVAL", "EPERM", "EACCES", "ENOSYS", "ENOSPC", "524"])
@pytest.mark.parametrize("family", ["setxattr", "getxattr", "listxattr"])
def test_a_refused_extended_attribute_does_not_abort_a_copy(place, family, name):
    if not trees.set_attribute(place.source, "user.colour", b"green"):
        pytest.skip(f"{place.directory} has no user attributes")
    outcome = place.copy(rule(family, errno=number_of(name)), function="copy2")
    assert outcome.injected(family)
    place.assert_copied(outcome)
    assert os.stat(place.destination).st_mtime_ns == os.stat(place.source).st_mtime_ns


@pytest.mark.parametrize("family", ["setxattr", "getxattr", "listxattr"])
def test_a_refused_extended_attribute_does_not_abort_a_tree(place, family):
    tree = os.path.join(place.directory, "tree")
    trees.make_tree(tree)
    outcome = place.call(
        "copytree", tree, tree + ".copy", keywords={"symlinks": True}, rules=[rule(family, errno=errno.EACCES)]
    )
    assert outcome.injected(family) and outcome.error is None, outcome
    assert trees.snapshot(tree + ".copy", metadata=False) == trees.snapshot(tree, metadata=False)


@pytest.mark.parametrize("function", ["copy", "copy2"])
def test_a_file_system_without_modes_is_tolerated(place, function):
    outcome = place.copy(rule("chmod", errno=errno.EPERM), function=function)
    assert outcome.injected("chmod")
    place.assert_copied(outcome)


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_refused_truncation_does_not_spoil_the_copy(place, existing):
    if existing:
        place.old = place.data + b"the old tail"
    place.assert_right_or_reported(place.copy(rule("truncate", errno=errno.EACCES), existing=existing))


def test_attributes_are_set_before_a_mode_that_forbids_it(place):
    if not trees.set_attribute(place.source, "user.colour", b"green"):
        pytest.skip(f"{place.directory} has no user attributes")
    os.chmod(place.source, 0o444)
    outcome = place.copy(function="copy2")
    place.assert_copied(outcome)
    calls = [call for call in outcome.of("setxattr|chmod") if call.target == place.destination]
    last = max(index for index, call in enumerate(calls) if call.family == "setxattr")
    modes = [call.argument for call in calls[:last] if call.family == "chmod"]
    assert all(mode & 0o200 for mode in modes), "an ordinary user may not set attributes of a read-only file"
    assert [call.argument for call in calls if call.family == "chmod"][-1] == 0o444


# Opening, closing, syncing, renaming ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family, name, classes, kind, operation",
    [
        ("open_read", "EACCES", ("PermissionDeniedError", "PermissionError"), "PERMISSION_DENIED", "OPEN_SOURCE"),
        ("open_read", "EMFILE", ("CopyIOError", "OSError"), "IO", "OPEN_SOURCE"),
        ("open_read", "ESTALE", ("NetworkError", "ConnectionError"), "NETWORK", "OPEN_SOURCE"),
        ("open_write", "EACCES", ("PermissionDeniedError", "PermissionError"), "PERMISSION_DENIED", "OPEN_DESTINATION"),
        ("open_write", "EROFS", ("PermissionDeniedError", "OSError"), "PERMISSION_DENIED", "OPEN_DESTINATION"),
        ("open_write", "ENOSPC", ("DiskFullError", "OSError"), "DISK_FULL", "OPEN_DESTINATION"),
        ("open_write", "ETIMEDOUT", ("TransferTimeoutError", "TimeoutError"), "TIMEOUT", "OPEN_DESTINATION"),
    ],
)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_file_that_cannot_be_opened_is_named_and_nothing_is_touched(
    place, family, name, classes, kind, operation, existing
):
    where = "source.bin" if family == "open_read" else "destination.bin"
    outcome = place.copy(rule(family, errno=number_of(name), path=where), existing=existing)
    assert outcome.injected(family)
    error = place.assert_failed(outcome, number_of(name))
    assert error.is_a(*classes) and (error.kind, error.operation) == (kind, operation), outcome
    assert error.filename == place.source and error.filename2 in (None, place.destination)
    assert place.state == ("old" if existing else "absent")


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_an_error_that_comes_only_with_close_is_reported(place, name, existing):
    outcome = place.copy(rule("close", errno=number_of(name), path="destination.bin"), existing=existing)
    assert outcome.injected("close"), "the destination was never closed"
    error = place.assert_failed(outcome, number_of(name))
    assert error.operation == "CLOSE" and error.kind == ("WRITE_ERROR" if name == "EIO" else "DISK_FULL")


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_an_error_at_fsync_is_reported(place, existing):
    outcome = place.copy(
        rule("fsync", errno=errno.EIO, path="destination.bin"), existing=existing, config={"fsync": True}
    )
    assert outcome.injected("fsync")
    assert place.assert_failed(outcome, errno.EIO).operation == "SYNC"


def test_fsync_comes_after_the_data_for_the_file_and_after_the_file_for_its_directory(place):
    outcome = place.copy(config={"fsync": True})
    place.assert_copied(outcome)
    last_data = max(i for i, call in enumerate(outcome.calls) if call.family in DATA.split("|") and call.result > 0)
    synced = [(i, call.path) for i, call in enumerate(outcome.calls) if call.family == "fsync"]
    files = [i for i, path in synced if path == place.destination]
    directories = [i for i, path in synced if path == os.path.dirname(place.destination)]
    assert files and directories and last_data < files[-1] < directories[-1], synced


def test_an_atomic_durable_copy_syncs_the_file_then_renames_then_syncs_the_directory(place):
    outcome = place.copy(existing=True, config={"fsync": True, "atomic": True})
    place.assert_copied(outcome)
    calls = outcome.calls
    (renamed,) = [i for i, call in enumerate(calls) if call.family == "rename" and call.path2 == place.destination]
    temporary = calls[renamed].path
    assert re.match(r"\.eacopy-[0-9a-f]{16}\.tmp$", os.path.basename(temporary))
    assert os.path.dirname(temporary) == os.path.dirname(place.destination)
    files = [i for i, call in enumerate(calls) if call.family == "fsync" and call.path == temporary]
    directories = [
        i for i, call in enumerate(calls) if call.family == "fsync" and call.path == os.path.dirname(place.destination)
    ]
    assert files and files[-1] < renamed, "what is renamed must be on the disk before"
    assert directories and renamed < directories[-1]


def test_nothing_is_synced_unless_asked(place):
    assert not place.copy().of("fsync|syncfs")
    assert not place.copy(config={"atomic": True}).of("fsync|syncfs")


def test_a_durable_tree_syncs_every_file_and_every_directory(place):
    tree = os.path.join(place.directory, "tree")
    trees.make_tree(tree)
    outcome = place.call("copytree", tree, tree + ".copy", keywords={"symlinks": True}, config={"fsync": True})
    assert outcome.error is None, outcome
    if outcome.of("syncfs"):
        return
    synced = {call.path for call in outcome.of("fsync")}
    missing = [
        path
        for name, found in trees.snapshot(tree + ".copy", metadata=False).items()
        for path in [os.path.join(tree + ".copy", os.fsdecode(name)).rstrip("/")]
        if found[0] in ("file", "directory") and path not in synced
    ]
    assert not missing and place.directory in synced


@pytest.mark.parametrize("name", ["EACCES", "EIO", "ENOSPC", "EXDEV", "EBUSY"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_rename_that_fails_leaves_the_old_file_and_no_temporary_one(place, name, existing):
    outcome = place.copy(rule("rename|link", errno=number_of(name)), existing=existing, config={"atomic": True})
    assert outcome.injected("rename|link")
    error = place.assert_failed(outcome, number_of(name))
    assert error.destination == ("old" if existing else "absent")


def test_a_clean_up_that_fails_does_not_hide_the_first_error(place):
    outcome = place.copy(
        rule("|".join(["write", "copy_file_range", "sendfile"]), errno=errno.ENOSPC), rule("unlink", errno=errno.EROFS)
    )
    assert outcome.injected("unlink") and outcome.error is not None and outcome.error.errno == errno.ENOSPC, outcome
    assert outcome.error.destination == "partial", "the file could not be removed, and the error must say so"


# Verify ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_corrupted_write_goes_unseen_without_verify(place, method):
    outcome = place.copy(*METHODS[method], rule(method, "corrupt", count=1))
    assert outcome.error is None and outcome.injected(method)
    assert place.state == "partial", "the shim must have damaged it, or the next test proves nothing"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_verify_finds_a_corrupted_write(place, method, atomic, existing):
    rules = [*METHODS[method], rule(method, "corrupt", count=1)]
    outcome = place.copy(*rules, existing=existing, config={"verify": True, "atomic": atomic})
    assert outcome.injected(method)
    error = place.assert_failed(outcome)
    assert error.operation == "VERIFY" and error.kind == "IO" and error.is_a("CopyIOError")
    assert error.destination == ("absent" if not existing else "old" if atomic else "partial")


def test_verify_finds_a_corrupted_clone(cloning_place):
    outcome = cloning_place.copy(rule("clone", "corrupt"), config={"verify": True})
    assert outcome.injected("clone")
    assert cloning_place.assert_failed(outcome).operation == "VERIFY"


def test_verify_passes_a_right_copy_and_reads_both_files(place):
    outcome = place.copy(NO_CLONE, config={"verify": True})
    place.assert_copied(outcome)
    read = {
        path: sum(call.result for call in outcome.of("read") if call.path == path)
        for path in (place.source, place.destination)
    }
    assert min(read.values()) >= len(place.data), read


def test_verify_in_a_tree_names_the_file_and_copies_the_rest(place):
    tree = os.path.join(place.directory, "tree")
    trees.make_tree(tree)
    rules = [NO_CLONE, rule("copy_file_range|sendfile|write", "corrupt", count=1, path="tree.copy/sub/large")]
    outcome = place.call(
        "copytree", tree, tree + ".copy", keywords={"symlinks": True}, rules=rules, config={"verify": True}
    )
    assert outcome.injected() and outcome.error.is_a("TreeError", "Error"), outcome
    assert [triple[:2] for triple in outcome.error.triples] == [(tree + "/sub/large", tree + ".copy/sub/large")]
    expected = trees.snapshot(tree)
    del expected[b"sub/large"]
    got = trees.snapshot(tree + ".copy")
    assert got == expected


# Retry -----------------------------------------------------------------------------------------------------------


def test_retry_gets_over_a_passing_fault(place):
    config = {"error_strategy": "retry", "retry_count": 3, "retry_delay": 0.01}
    outcome = place.copy(*METHODS["write"], rule("read", errno=errno.EIO, count=2, path="source.bin"), config=config)
    assert len(outcome.injected("read")) == 2
    place.assert_copied(outcome)


def test_retry_gives_up_after_as_many_further_tries_as_asked_for(place):
    config = {"error_strategy": "retry", "retry_count": 3, "retry_delay": 0.01}
    outcome = place.copy(*METHODS["write"], rule("read", errno=errno.EIO, path="source.bin"), config=config)
    error = place.assert_failed(outcome, errno.EIO)
    assert error.kind == "READ_ERROR" and len(outcome.injected("read")) == 4


def test_a_retry_reports_progress_from_the_start_again(place):
    outcome = place.execute(
        "events = []\n"
        "config = config.evolve(progress_callback=lambda *event: events.append(event))\n"
        "py_eacopy.copyfile(source, destination, config=config)\n"
        "result = events",
        rules=[*METHODS["write"], rule("read", errno=errno.EIO, skip=1, count=1, path="source.bin")],
        config={"error_strategy": "retry", "retry_delay": 0.01},
    )
    place.assert_copied(outcome)
    assert outcome.injected("read")
    size, copied = len(place.data), [event[0] for event in outcome.result]
    assert copied.count(0) == 2 and copied[0] == 0 and outcome.result[-1] == (size, size, place.source)
    again = len(copied) - 1 - copied[::-1].index(0)
    assert copied[again:] == sorted(copied[again:]) and copied[:again] == sorted(copied[:again])


# Trees -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(place):
    path = os.path.join(place.directory, "tree")
    trees.make_tree(path)
    return path


@pytest.mark.parametrize(
    "family, name, where, failing",
    [
        ("mkdir", "ENOSPC", "tree.copy/sub/deeper", "sub/deeper"),
        ("open_read", "EACCES", "tree/sub/deeper", "sub/deeper"),
        ("readdir", "EIO", "tree/sub/deeper", "sub/deeper"),
        ("open_read", "EIO", "tree/sub/program", "sub/program"),
        ("open_write", "EACCES", "tree.copy/sub/program", "sub/program"),
        ("symlink", "EPERM", "tree.copy/dangling", "dangling"),
        ("readlink", "EIO", "tree/dangling", "dangling"),
        ("close", "EIO", "tree.copy/sub/large", "sub/large"),
    ],
)
def test_a_failure_inside_a_tree_is_one_record_and_the_rest_is_copied(place, tree, family, name, where, failing):
    rules = [rule(family, errno=number_of(name), path=os.path.join(place.directory, where))]
    outcome = place.call("copytree", tree, tree + ".copy", keywords={"symlinks": True}, rules=rules)
    assert outcome.injected(family) and outcome.error is not None, outcome
    assert outcome.error.is_a("TreeError", "Error"), outcome
    failed = sorted(triple[:2] for triple in outcome.error.triples)
    if failing == "sub/deeper" and family in ("readdir", "open_read"):
        # Nothing of it could be read: whether the directory itself appears is left open.
        assert (tree + "/" + failing, tree + ".copy/" + failing) in failed
    else:
        assert failed == [(tree + "/" + failing, tree + ".copy/" + failing)]
    assert {error.errno for error in outcome.error.errors} == {number_of(name)}
    source, copy = trees.snapshot(tree, metadata=False), trees.snapshot(tree + ".copy", metadata=False)
    below = os.fsencode(failing)
    for path, found in source.items():
        if path != below and not path.startswith(below + b"/"):
            assert copy.pop(path) == found, path
    assert not [path for path, found in copy.items() if found[0] == "file"], "a failed file must be gone"


def test_a_tree_whose_threads_cannot_be_started_is_copied_or_refused(place, tree):
    outcome = place.call(
        "copytree", tree, tree + ".copy", keywords={"symlinks": True}, rules=[rule("thread", errno=errno.EAGAIN)]
    )
    assert not outcome.signal, outcome
    if outcome.error is None:
        assert trees.snapshot(tree + ".copy") == trees.snapshot(tree)
    else:
        assert outcome.error.is_a("EACopyError"), outcome


# Every call in turn ----------------------------------------------------------------------------------------------

#: Some of these answers are legal for hardly any call, and must be survived all the same.
SWEPT = ["EIO", "ENOSPC", "EINTR"]


def sweep(copy, path):
    """How many calls a copy makes on this path when nothing fails."""
    outcome = copy()
    assert outcome.error is None, outcome
    return len([call for call in outcome.calls if path in call.path or path in call.path2])


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_whichever_call_of_a_file_copy_fails_the_outcome_is_told_truly(place, name, existing, atomic):
    place.data = trees.write(place.source, place.data[:300001]) and trees.read(place.source)
    trees.set_attribute(place.source, "user.colour", b"green")
    config = {"atomic": atomic, "fsync": True, "verify": True}
    total = sweep(lambda: place.copy(function="copy2", existing=existing, config=config), place.directory)
    assert total >= 8
    for index in range(total):
        fault = rule("*", errno=number_of(name), skip=index, count=1, path=place.directory)
        outcome = place.copy(fault, function="copy2", existing=existing, config=config)
        (call,) = outcome.injected()
        if call.family == "unlink":
            continue  # what cannot be removed stays; a test of its own above
        place.assert_right_or_reported(outcome)
        if atomic and existing:
            assert place.state in ("old", "new"), call


@pytest.mark.parametrize("name", SWEPT)
def test_whichever_call_of_a_tree_copy_fails_no_file_is_left_half_written_or_forgotten(place, name):
    tree = os.path.join(place.directory, "tree")
    trees.make_small_tree(tree)
    expected = trees.snapshot(tree, metadata=False)

    def copy(*rules):
        trees.remove(tree + ".copy")
        return place.call(
            "copytree", tree, tree + ".copy", keywords={"symlinks": True}, rules=rules, config={"thread_count": 1}
        )

    total = sweep(copy, place.directory)
    for index in range(total):
        outcome = copy(rule("*", errno=number_of(name), skip=index, count=1, path=place.directory))
        injected = outcome.injected()
        if not injected:  # a walk whose order differs may make a call less
            continue
        assert not outcome.signal, outcome
        got = trees.snapshot(tree + ".copy", metadata=False) if os.path.isdir(tree + ".copy") else {}
        assert not trees.temporaries(place.directory)
        if outcome.error is None:
            assert got == expected, injected
        else:
            assert outcome.error.is_a("EACopyError"), outcome
            wrong = [path for path, found in got.items() if found != expected[path]]
            assert not wrong, (injected, wrong)
            missing = set(expected) - set(got)
            told = [os.fsencode(triple[0]) for triple in getattr(outcome.error, "triples", [])]
            for path in missing:
                full = os.path.join(os.fsencode(tree), path)
                assert not told or any(full == other or full.startswith(other.rstrip(b"/") + b"/") for other in told), (
                    injected,
                    path,
                )


def test_the_families_that_the_tests_rely_on_are_those_that_a_copy_uses(place):
    """Should a backend find another way around libc, every test above would pass for nothing."""
    outcome = place.copy(function="copy2")
    used = {call.family for call in outcome.calls}
    assert {"open_read", "open_write", "close", "stat", "utime", "chmod"} <= used, used
    assert used & set(MOVES.split("|"))
