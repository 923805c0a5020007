"""What a copy must survive without an injected error: odd files, changing trees, races, rights, depths and names."""

import errno
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile

import pytest
from faults import harness, trees
from faults.harness import METHODS, MOVES, NOBODY, Workplace, rule
from users import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="provoked through Linux's own ways")

PIECE = 65536

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


@pytest.fixture
def place(backend, tmp_path):
    harness.shim()
    return Workplace(backend, tmp_path, 1024 * 1024 + 123)


@pytest.fixture
def open_directory():
    """A directory that any user may work in; pytest's own is closed to others."""
    path = tempfile.mkdtemp(prefix="eacopy-open-")
    os.chmod(path, 0o777)
    yield path
    trees.remove(path)


@pytest.fixture
def open_place(backend, open_directory):
    """A place that an ordinary user owns."""
    harness.shim()
    place = Workplace(backend, open_directory, 100000)
    give_to_nobody(place.source, os.path.dirname(place.destination))
    return place


def give_to_nobody(*paths):
    for path in paths:
        if ROOT:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture
def tree(place):
    path = os.path.join(place.directory, "tree")
    trees.make_tree(path)
    return path


def as_shutil(function, *arguments, umask=0o022, **keywords):
    """What shutil makes of it, for comparing."""
    old = os.umask(umask)
    try:
        return getattr(shutil, function)(*arguments, **keywords)
    finally:
        os.umask(old)


# Files of /proc and /sys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/proc/version", "/proc/crypto", "/proc/kallsyms", "/proc/zoneinfo", "/sys/devices/system/cpu/online"]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_file_whose_size_lies_is_copied_whole(place, path, method):
    if not os.access(path, os.R_OK):
        pytest.skip(f"{path} cannot be read here")
    data, size = trees.read(path), os.stat(path).st_size
    if path == "/proc/zoneinfo":
        data = data[:10]  # its counters run on
    assert size != len(data)
    outcome = place.call("copyfile", path, place.destination, rules=METHODS[method])
    assert outcome.error is None, outcome
    assert trees.read(place.destination)[: len(data)] == data
    assert path == "/proc/zoneinfo" or os.path.getsize(place.destination) == len(data)


def test_a_proc_file_larger_than_a_page_reports_progress_that_ends_at_what_was_copied(place):
    outcome = place.execute(
        "events = []\n"
        "config = config.evolve(progress_callback=lambda *event: events.append(event))\n"
        "py_eacopy.copyfile('/proc/crypto', destination, config=config)\n"
        "result = events"
    )
    assert outcome.error is None, outcome
    size = os.path.getsize(place.destination)
    assert size > 4096 and outcome.result[-1] == (size, size, "/proc/crypto") and outcome.result[0][0] == 0


def test_a_directory_of_proc_is_copied_with_contents(place):
    source = "/proc/sys/fs/inotify"
    if not os.path.isdir(source):
        pytest.skip(f"there is no {source}")
    target = os.path.join(place.directory, "inotify")
    outcome = place.call("copytree", source, target)
    assert outcome.error is None, outcome
    assert {n: trees.read(os.path.join(target, n)) for n in os.listdir(target)} == {
        n: trees.read(os.path.join(source, n)) for n in os.listdir(source)
    }


def test_verify_and_atomic_work_for_a_proc_file(place):
    outcome = place.call("copyfile", "/proc/version", place.destination, config={"verify": True, "atomic": True})
    assert outcome.error is None and trees.read(place.destination) == trees.read("/proc/version"), outcome


# A source that changes while it is copied -------------------------------------------------------------------------

WITH_EVENTS = (
    "events = []\n"
    "config = config.evolve(progress_callback=lambda *event: events.append(event[:2]))\n"
    "try: py_eacopy.copyfile(source, destination, config=config)\n"
    "finally: result = events"
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [0, 30000, 100000])
def test_a_source_that_shrinks_ends_the_copy_with_what_was_read_or_an_error(place, method, size):
    rules = METHODS[method] + [
        rule(MOVES, run=f"truncate -s {size} '{place.source}'", skip=2, count=1),
        rule(MOVES, short=PIECE, path=place.directory),
    ]
    outcome = place.execute(WITH_EVENTS, rules=rules, config={"buffer_size": PIECE})
    assert outcome.signal != signal.SIGALRM, "it loops for ever"
    assert os.path.getsize(place.source) == size, "the source was not shrunk in time"
    if outcome.error is not None:
        assert (
            outcome.error.is_a("EACopyError")
            and outcome.error.destination == "absent"
            and not os.path.exists(place.destination)
        )
        return
    got = trees.read(place.destination)
    assert got == place.data[: len(got)] and len(got) >= size, "it must not be padded"
    assert len(got) < len(place.data), "what is not there any more cannot have been copied"
    assert outcome.result[-1] == (len(got), len(got)), "the total follows the source"


@pytest.mark.parametrize("method", METHODS)
def test_a_source_that_grows_ends_the_copy_at_its_old_or_its_new_end(place, method):
    rules = METHODS[method] + [
        rule(MOVES, run=f"head -c 500000 /dev/zero >> '{place.source}'", skip=2, count=1),
        rule(MOVES, short=PIECE, path=place.directory),
    ]
    outcome = place.execute(WITH_EVENTS, rules=rules, config={"buffer_size": PIECE})
    assert outcome.error is None, outcome
    assert os.path.getsize(place.source) == len(place.data) + 500000, "the source was not made larger in time"
    got = trees.read(place.destination)
    assert len(got) >= len(place.data) and got == (place.data + bytes(500000))[: len(got)]
    assert outcome.result[-1] == (len(got), len(got)), "the total follows the source"
    copied = [event[0] for event in outcome.result]
    assert copied == sorted(copied) and copied[0] == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_source_that_grows_as_fast_as_it_is_copied_does_not_keep_the_copy_for_ever(place, method):
    grow = rule(MOVES, run=f"head -c 1000000 /dev/zero >> '{place.source}'", path=place.source, count=200)
    outcome = place.execute(WITH_EVENTS, rules=METHODS[method] + [grow])
    assert not outcome.signal, "it loops for ever"
    assert os.path.getsize(place.source) < len(place.data) + 200 * 1000000, (
        "it went on until the source stopped growing"
    )


@pytest.mark.parametrize("method", METHODS)
def test_verify_does_not_pass_a_copy_whose_source_was_rewritten_meanwhile_in_silence(place, method):
    """The copy is a mix of old and new then. Any reader would see it so; only verify can be asked to find it."""
    new = place.source + ".new"
    rewrite = f"head -c {len(place.data)} /dev/zero > '{new}' && cat '{new}' > '{place.source}'"
    rules = METHODS[method] + [rule(MOVES, run=rewrite, skip=4, count=1), rule(MOVES, short=PIECE, count=8)]
    outcome = place.execute(WITH_EVENTS, rules=rules, config={"buffer_size": PIECE, "verify": True})
    assert not outcome.signal and trees.read(place.source) == bytes(len(place.data))
    assert outcome.error is not None or trees.read(place.destination) == bytes(len(place.data)), outcome


# Rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_a_directory_without_write_permission_refuses_a_new_file(open_place, atomic):
    os.chmod(os.path.dirname(open_place.destination), 0o555)
    outcome = open_place.copy(user=NOBODY, config={"atomic": atomic})
    error = open_place.assert_failed(outcome, errno.EACCES)
    assert error.is_a("PermissionDeniedError", "PermissionError") and error.filename2 == open_place.destination
    assert error.destination == "absent"


def test_a_writable_file_in_a_directory_without_write_permission_is_overwritten_in_place(open_place):
    trees.write(open_place.destination, open_place.old)
    give_to_nobody(open_place.destination)
    os.chmod(os.path.dirname(open_place.destination), 0o555)
    open_place.assert_copied(open_place.call("copyfile", open_place.source, open_place.destination, user=NOBODY))


def test_an_atomic_copy_into_a_directory_without_write_permission_leaves_the_old_file(open_place):
    trees.write(open_place.destination, open_place.old)
    give_to_nobody(open_place.destination)
    os.chmod(os.path.dirname(open_place.destination), 0o555)
    outcome = open_place.call(
        "copyfile", open_place.source, open_place.destination, user=NOBODY, config={"atomic": True}
    )
    assert open_place.assert_failed(outcome, errno.EACCES).destination == "old"


@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2"])
def test_a_read_only_destination_file_is_refused_and_keeps_its_content(open_place, function):
    trees.write(open_place.destination, open_place.old)
    give_to_nobody(open_place.destination)
    os.chmod(open_place.destination, 0o444)
    outcome = open_place.call(function, open_place.source, open_place.destination, user=NOBODY)
    error = open_place.assert_failed(outcome, errno.EACCES)
    assert error.is_a("PermissionError") and error.destination == "old" and error.operation == "OPEN_DESTINATION"


def test_an_unreadable_source_is_refused_before_the_destination_is_touched(open_place):
    os.chmod(open_place.source, 0)
    outcome = open_place.call("copyfile", open_place.source, open_place.destination, user=NOBODY)
    os.chmod(open_place.source, 0o644)
    error = open_place.assert_failed(outcome, errno.EACCES)
    assert error.filename == open_place.source and error.operation == "OPEN_SOURCE" and error.destination == "absent"


def test_a_tree_of_read_only_directories_and_files_is_copied_with_its_modes_by_an_ordinary_user(open_place):
    tree = os.path.join(open_place.directory, "tree")
    os.makedirs(tree + "/closed/inner")
    for name in ("/file", "/closed/file", "/closed/inner/file"):
        trees.write(tree + name, name.encode())
        trees.set_attribute(tree + name, "user.colour", b"green")
        os.chmod(tree + name, 0o444)
        give_to_nobody(tree + name)
    for name in ("/closed/inner", "/closed", ""):
        give_to_nobody(tree + name)
        os.chmod(tree + name, 0o555)
        os.utime(tree + name, ns=(10**18, 10**18 + 7))
    copy = os.path.join(os.path.dirname(open_place.destination), "copy")
    outcome = open_place.call("copytree", tree, copy, user=NOBODY)
    assert outcome.error is None, outcome
    assert trees.snapshot(copy) == trees.snapshot(tree)


def test_files_and_directories_that_may_not_be_read_are_named_and_the_rest_is_copied(open_place):
    tree = os.path.join(open_place.directory, "tree")
    os.makedirs(tree + "/secret")
    os.makedirs(tree + "/open")
    for name in ("/secret/file", "/open/file", "/open/hidden", "/last"):
        trees.write(tree + name, name.encode())
        give_to_nobody(tree + name)
    give_to_nobody(tree, tree + "/secret", tree + "/open")
    os.chmod(tree + "/secret", 0)
    os.chmod(tree + "/open/hidden", 0)
    copy = os.path.join(os.path.dirname(open_place.destination), "copy")
    outcome = open_place.call("copytree", tree, copy, user=NOBODY)
    assert outcome.error is not None and outcome.error.is_a("TreeError", "Error"), outcome
    assert {os.path.relpath(triple[0], tree) for triple in outcome.error.triples} == {"secret", "open/hidden"}
    assert {error.errno for error in outcome.error.errors} == {errno.EACCES}
    assert trees.read(copy + "/open/file") == b"/open/file" and trees.read(copy + "/last") == b"/last"
    assert not os.path.exists(copy + "/open/hidden")


@needs_root
def test_the_mode_of_a_file_and_a_directory_that_nobody_may_use_is_copied(place):
    tree = os.path.join(place.directory, "tree")
    os.makedirs(tree + "/closed")
    trees.write(tree + "/closed/file", b"content")
    os.chmod(tree + "/closed/file", 0)
    os.chmod(tree + "/closed", 0)
    outcome = place.call("copytree", tree, tree + ".copy")
    assert outcome.error is None, outcome
    assert trees.snapshot(tree + ".copy") == trees.snapshot(tree)
    assert stat.S_IMODE(os.stat(tree + ".copy/closed/file").st_mode) == 0


MODES = (0o000, 0o400, 0o444, 0o600, 0o640, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1777)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2"])
@pytest.mark.parametrize("user", [None, NOBODY], ids=["as we are", "ordinary user"])
def test_the_mode_of_a_copy_is_that_which_shutil_gives_it(open_place, function, umask, user):
    directory = os.path.dirname(open_place.destination)
    for mode in MODES:
        if mode == 0:
            continue
        os.chmod(open_place.source, mode | stat.S_IRUSR)
        ours, theirs = os.path.join(directory, f"ours-{mode:o}"), os.path.join(directory, f"theirs-{mode:o}")
        outcome = open_place.execute(
            "import shutil\n"
            "getattr(shutil, function)(source, theirs)\n"
            "getattr(py_eacopy, function)(source, ours, config=config)",
            function=function,
            ours=ours,
            theirs=theirs,
            umask=umask,
            user=user,
        )
        assert outcome.error is None, outcome
        assert oct(os.stat(ours).st_mode) == oct(os.stat(theirs).st_mode), oct(mode)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_modes_of_a_tree_are_those_of_the_source_whatever_the_umask(place, umask):
    tree = os.path.join(place.directory, "tree")
    for mode in MODES:
        os.makedirs(tree + f"/directory-{mode:o}")
        trees.write(tree + f"/directory-{mode:o}/file", b"content")
        os.chmod(tree + f"/directory-{mode:o}/file", mode)
        os.chmod(tree + f"/directory-{mode:o}", mode | stat.S_IRWXU)
    user = None if os.geteuid() == 0 else os.geteuid()
    if user is not None:
        os.chmod(tree + "/directory-0/file", stat.S_IRUSR)
    outcome = place.call("copytree", tree, tree + ".copy", umask=umask)
    assert outcome.error is None, outcome
    assert trees.snapshot(tree + ".copy") == trees.snapshot(tree)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_an_atomic_copyfile_gives_a_new_file_the_mode_that_the_umask_leaves(place, umask):
    place.assert_copied(place.copy(config={"atomic": True}, umask=umask))
    assert oct(stat.S_IMODE(os.stat(place.destination).st_mode)) == oct(0o666 & ~umask)


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o755])
def test_an_atomic_copyfile_over_a_file_keeps_that_files_mode_as_copyfile_does(place, mode):
    """A private file must not become public because its contents were exchanged."""
    trees.write(place.destination, place.old)
    os.chmod(place.destination, mode)
    place.assert_copied(place.call("copyfile", place.source, place.destination, config={"atomic": True}))
    assert oct(stat.S_IMODE(os.stat(place.destination).st_mode)) == oct(mode)


def set_acl(*arguments):
    if not shutil.which("setfacl"):
        pytest.skip("setfacl is not installed (Debian: package acl)")
    done = subprocess.run(["setfacl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    if done.returncode:
        pytest.skip(f"ACLs cannot be set here: {done.stdout.strip()}")


@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2", "copytree"])
@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_default_acls_of_the_destination_directory_act_as_with_shutil(place, function, umask, atomic):
    ours, theirs = os.path.join(place.directory, "ours"), os.path.join(place.directory, "theirs")
    for directory in (ours, theirs):
        os.mkdir(directory)
        set_acl("-d", "-m", f"u::rwx,u:{NOBODY}:rwx,g::r-x,o::---,m::rwx", directory)
    source = place.source
    os.chmod(source, 0o640)
    if function == "copytree":
        source = os.path.join(place.directory, "tree")
        os.makedirs(source + "/inner")
        trees.write(source + "/inner/file", b"content")
        os.chmod(source + "/inner", 0o711)
    as_shutil(function, source, theirs + "/copy", umask=umask)
    outcome = place.call(function, source, ours + "/copy", umask=umask, config={"atomic": atomic})
    assert outcome.error is None, outcome

    def without_times(found):
        return {
            name: entry[:-2] + entry[-1:] if entry[0] == "file" else (entry[0], entry[1], entry[3])
            for name, entry in found.items()
        }

    assert without_times(trees.snapshot(ours)) == without_times(trees.snapshot(theirs))


def test_an_acl_of_the_source_goes_with_copy2(place):
    set_acl("-m", f"u:{NOBODY}:rw", place.source)
    place.assert_copied(place.copy(function="copy2"))
    assert trees.attributes(place.destination) == trees.attributes(place.source) != {}


@pytest.fixture
def flag():
    """Sets a flag of chattr on a path and takes it away after the test."""
    changed = []

    def set_flag(name, path):
        if not shutil.which("chattr"):
            pytest.skip("chattr is not installed (Debian: package e2fsprogs)")
        done = subprocess.run(
            ["chattr", "+" + name, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
        if done.returncode:
            pytest.skip(f"chattr +{name} is not possible here: {done.stdout.strip()}")
        changed.append((name, path))

    yield set_flag
    for name, path in changed:
        subprocess.run(["chattr", "-" + name, path], check=True)


@pytest.mark.parametrize("name", ["i", "a"], ids=["immutable", "append-only"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_a_destination_file_that_must_not_change_is_refused_and_keeps_its_content(place, flag, name, atomic):
    trees.write(place.destination, place.old)
    flag(name, place.destination)
    outcome = place.call("copyfile", place.source, place.destination, config={"atomic": atomic})
    error = place.assert_failed(outcome, errno.EPERM)
    assert error.is_a("PermissionError") and error.destination == "old"


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_a_program_that_is_running_is_replaced_only_atomically(place, atomic):
    shutil.copy2(shutil.which("sleep"), place.destination)
    place.old = trees.read(place.destination)
    with subprocess.Popen([place.destination, "60"]) as running:
        try:
            outcome = place.call("copyfile", place.source, place.destination, config={"atomic": atomic})
        finally:
            running.kill()
    if atomic:
        place.assert_copied(outcome)
    else:
        assert place.assert_failed(outcome, errno.ETXTBSY).destination == "old"


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_an_immutable_directory_refuses_a_new_file(place, flag, atomic):
    flag("i", os.path.dirname(place.destination))
    error = place.assert_failed(place.copy(config={"atomic": atomic}), errno.EPERM)
    assert error.is_a("PermissionError") and error.destination == "absent"


def test_a_new_file_in_an_append_only_directory_is_copied(place, flag):
    flag("a", os.path.dirname(place.destination))
    outcome = place.call("copyfile", place.source, place.destination)
    assert outcome.error is None and place.state == "new", outcome


@pytest.mark.parametrize("name", ["i", "a"], ids=["immutable", "append-only"])
@pytest.mark.parametrize("function", ["copy2", "copytree"])
def test_a_source_that_must_not_change_is_copied(place, flag, name, function):
    source, target = place.source, place.destination
    if function == "copytree":
        source, target = os.path.join(place.directory, "tree"), os.path.join(place.directory, "copy")
        os.mkdir(source)
        trees.write(source + "/file", place.data)
        flag(name, source + "/file")
    flag(name, source)
    outcome = place.call(function, source, target)
    subprocess.run(["chattr", "-R", "-ia", target], check=False, stderr=subprocess.DEVNULL)
    assert outcome.error is None, outcome
    assert trees.read(target if function == "copy2" else target + "/file") == place.data


# Access times ----------------------------------------------------------------------------------------------------


def make_stale(path):
    """An access time that any reading would renew, also under relatime. Skips where reading does not."""
    probe = path + ".probe"
    for name in (probe, path):
        if name == probe:
            trees.write(probe, b"probe")
        os.utime(name, ns=(10**18, 11 * 10**17))
    trees.read(probe)
    if os.stat(probe).st_atime_ns == 10**18:
        pytest.skip("this file system is mounted with noatime")
    os.unlink(probe)


@pytest.mark.parametrize("function", ["copyfile", "copy2"])
@pytest.mark.parametrize("method", METHODS)
def test_copying_does_not_renew_the_access_time_of_the_source(place, function, method):
    make_stale(place.source)
    place.assert_copied(place.copy(*METHODS[method], function=function))
    # assert_copied reads the source, so the access time has been renewed by now: copy once more.
    make_stale(place.source)
    assert place.copy(*METHODS[method], function=function).error is None
    assert os.stat(place.source).st_atime_ns == 10**18
    assert function != "copy2" or os.stat(place.destination).st_atime_ns == 10**18


def test_copying_a_tree_does_not_renew_the_access_times_of_its_files(place, tree):
    names = ("one", "page", "sub/large", "sub/program", "sub/deeper/deepest/leaf")
    for name in names:
        make_stale(os.path.join(tree, name))
    outcome = place.call("copytree", tree, tree + ".copy", keywords={"symlinks": True})
    assert outcome.error is None, outcome
    assert {os.stat(os.path.join(tree, name)).st_atime_ns for name in names} == {10**18}


@needs_root
def test_a_source_that_belongs_to_somebody_else_is_read_all_the_same(open_place):
    os.chown(open_place.source, 0, 0)
    os.chmod(open_place.source, 0o644)
    open_place.assert_copied(open_place.copy(user=NOBODY, function="copy2"))


# One file under two names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("how", ["itself", "hard link", "symlink", "symlink in a linked directory", "its directory"])
def test_a_file_copied_onto_itself_is_refused_and_keeps_its_content(place, function, atomic, how):
    target = place.destination
    if how == "itself":
        target = os.path.join(place.directory, "target", "..", "source.bin")
    elif how == "hard link":
        os.link(place.source, target)
    elif how == "symlink":
        os.symlink(place.source, target)
    elif how == "symlink in a linked directory":
        os.symlink(place.directory, place.directory + "/target/link")
        target = place.directory + "/target/link/source.bin"
    elif function == "copyfile":
        pytest.skip("copyfile does not take a directory")
    else:
        target = place.directory
    outcome = place.call(function, place.source, target, config={"atomic": atomic})
    assert trees.read(place.source) == place.data, "the file lost its content"
    assert outcome.error is not None and outcome.error.is_a("SameFileError", "EACopyError"), outcome
    assert outcome.error.operation == "SAME_FILE" and not trees.temporaries(place.directory)


def test_a_tree_copied_over_hard_links_to_itself_keeps_every_file(place, tree):
    subprocess.run(["cp", "-al", tree, tree + ".copy"], check=True)
    before = trees.snapshot(tree, metadata=False)
    outcome = place.call("copytree", tree, tree + ".copy", keywords={"symlinks": True, "dirs_exist_ok": True})
    assert trees.snapshot(tree, metadata=False) == before
    assert outcome.error is not None and outcome.error.is_a("Error"), outcome
    assert {"SameFileError"} <= {name for error in outcome.error.errors for name in error.classes}


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("link", ["ln -f '%s' '%s'", "ln -sf '%s' '%s'"], ids=["hard link", "symlink"])
def test_a_destination_that_becomes_a_link_to_the_source_at_any_moment_does_not_cost_the_source(place, link, atomic):
    """The check must be made on open descriptors, and before the truncation: O_TRUNC in open() is too early."""
    config = {"atomic": atomic}
    total = len(place.copy(existing=True, config=config).calls)
    assert total >= 4
    for index in range(total):
        outcome = place.copy(
            rule("*", run=link % (place.source, place.destination), skip=index, count=1, path=place.directory),
            existing=True,
            config=config,
        )
        assert not outcome.signal, outcome
        assert trees.read(place.source) == place.data, (index, outcome)


# Races -----------------------------------------------------------------------------------------------------------


class Race:
    """A tree, and a victim outside of it with the same names in it, for which a directory of the tree is exchanged."""

    def __init__(self, directory):
        self.tree, self.copy, self.victim = (os.path.join(directory, name) for name in ("tree", "copy", "victim"))
        self.moved = os.path.join(directory, "moved")
        self.build()
        self.before = self.look()

    def build(self):
        for path in (self.tree, self.copy, self.victim, self.moved):
            trees.remove(path)
        for root, content in ((self.tree + "/sub", b"public "), (self.victim, b"SECRET ")):
            os.makedirs(root + "/deeper/deepest")
            for name in ("/leaf", "/deeper/leaf", "/deeper/deepest/leaf"):
                trees.write(root + name, content * 1000)
        trees.write(self.tree + "/before", b"before")
        trees.write(self.victim + "/only here", b"SECRET ")
        for path in ("/deeper/deepest/leaf", "/deeper/deepest", "/deeper/leaf", "/deeper", "/leaf", "/only here", ""):
            os.chmod(self.victim + path, 0o700)
            os.utime(self.victim + path, ns=(10**18, 10**18 + 1))

    def look(self):
        return trees.snapshot(self.victim)

    def exchange(self, path, command="ln -s"):
        """A shell command that puts a link to the victim (or what else `command` makes) where `path` was, once."""
        other = os.path.join(self.victim, *path.split("/sub/", 1)[1:])
        make = f"{command} '{other}' '{path}'" if command == "ln -s" else f"{command} '{path}'"
        return f"test -e '{path}' && ! test -e '{self.moved}' && mv -T '{path}' '{self.moved}' && {make}"


def calls_under(outcome, *paths):
    return len([call for call in outcome.calls if any(path in call.path or path in call.path2 for path in paths)])


@pytest.mark.parametrize("where", ["sub", "sub/deeper"])
def test_a_source_directory_exchanged_for_a_link_at_any_moment_is_not_read_through(place, where):
    race = Race(place.directory)
    keywords = {"symlinks": True}
    total = calls_under(place.call("copytree", race.tree, race.copy, keywords=keywords), race.tree)
    exchanged = 0
    for index in range(total):
        race.build()
        swap = rule("*", run=race.exchange(race.tree + "/" + where), skip=index, count=1, path=race.tree)
        outcome = place.call("copytree", race.tree, race.copy, keywords=keywords, rules=[swap])
        exchanged += os.path.lexists(race.moved)
        assert not outcome.signal and (outcome.error is None or outcome.error.is_a("EACopyError")), outcome
        copied = trees.snapshot(race.copy, metadata=False) if os.path.isdir(race.copy) else {}
        read = [path for path, found in copied.items() if found[0] == "file" and b"SECRET" in found[1]]
        assert not read, (index, read)
        assert race.look() == race.before, "something was written into what lies outside"
    assert exchanged > 10


@pytest.mark.parametrize("where", ["sub", "sub/deeper"])
@pytest.mark.parametrize("symlinks", [True, False])
def test_a_destination_directory_exchanged_for_a_link_at_any_moment_is_not_written_through(place, where, symlinks):
    race = Race(place.directory)
    keywords = {"symlinks": symlinks}
    total = calls_under(place.call("copytree", race.tree, race.copy, keywords=keywords), race.copy)
    exchanged = 0
    for index in range(total):
        race.build()
        swap = rule("*", run=race.exchange(race.copy + "/" + where), skip=index, count=1, path=race.copy)
        outcome = place.call("copytree", race.tree, race.copy, keywords=keywords, rules=[swap])
        exchanged += os.path.lexists(race.moved)
        assert not outcome.signal and (outcome.error is None or outcome.error.is_a("EACopyError")), outcome
        assert race.look() == race.before, (index, "something was written into what lies outside")
    assert exchanged > 10


@pytest.mark.parametrize("command", ["ln -s", "mkfifo", "mkdir"])
def test_a_source_file_exchanged_for_something_else_at_any_moment_is_not_followed_and_not_waited_for(place, command):
    race = Race(place.directory)
    keywords = {"symlinks": True}
    total = calls_under(place.call("copytree", race.tree, race.copy, keywords=keywords), race.tree)
    exchanged = 0
    for index in range(total):
        race.build()
        swap = rule("*", run=race.exchange(race.tree + "/sub/leaf", command), skip=index, count=1, path=race.tree)
        outcome = place.call("copytree", race.tree, race.copy, keywords=keywords, rules=[swap], timeout=30)
        exchanged += os.path.lexists(race.moved)
        assert outcome.signal != signal.SIGALRM, (index, "it waits for the FIFO")
        assert outcome.error is None or outcome.error.is_a("EACopyError"), outcome
        copied = trees.snapshot(race.copy, metadata=False)
        assert not [path for path, found in copied.items() if found[0] == "file" and b"SECRET" in found[1]], index
        del copied[b"sub"], copied[b""]
        wrong = [
            p
            for p, found in copied.items()
            if found[0] == "file" and found[1] != trees.read(os.fsencode(race.moved)) and p == b"sub/leaf"
        ]
        assert not wrong, (index, wrong)
    assert exchanged > 10


def test_a_source_that_becomes_a_link_is_not_followed_by_a_copy_that_does_not_follow(place):
    secret = trees.write(os.path.join(place.directory, "secret"), b"SECRET ")
    total = len(place.copy(keywords={"follow_symlinks": False}).calls)
    for index in range(total):
        trees.write(place.source, place.data)
        swap = rule("*", run=f"ln -sf '{secret}' '{place.source}'", skip=index, count=1, path=place.directory)
        outcome = place.copy(swap, keywords={"follow_symlinks": False})
        os.unlink(place.source)
        assert not outcome.signal, outcome
        content = (
            trees.read(place.destination)
            if os.path.isfile(place.destination) and not os.path.islink(place.destination)
            else b""
        )
        assert b"SECRET" not in content, index


def test_a_process_that_exchanges_a_directory_all_the_time_gains_nothing(place):
    """The same as above, as it would happen: by chance, with all threads at work."""
    race = Race(place.directory)
    for number in range(40):
        trees.write(race.tree + f"/sub/deeper/more-{number}", b"public ")
    script = (
        f"cd '{place.directory}'; while kill -0 {os.getpid()}; do "  # as long as this test lives
        "mv -T tree/sub moved && ln -s ../victim tree/sub; rm tree/sub; mv -T moved tree/sub; "
        "mv -T copy/sub moved2 && ln -s ../victim copy/sub; rm -f copy/sub; mv -T moved2 copy/sub; done 2>/dev/null"
    )
    racer = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(25):
            outcome = place.call("copytree", race.tree, race.copy, keywords={"symlinks": True})
            assert not outcome.signal and (outcome.error is None or outcome.error.is_a("EACopyError")), outcome
            for root in (race.copy, os.path.join(place.directory, "moved2")):
                if os.path.isdir(root):
                    grep = subprocess.run(
                        ["grep", "-rl", "SECRET", root], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                    )
                    assert not grep.stdout, grep.stdout
            while subprocess.run(["rm", "-rf", race.copy], stderr=subprocess.DEVNULL).returncode:
                pass  # the other process has just put something into it
    finally:
        os.killpg(racer.pid, signal.SIGKILL)
        racer.wait()
    assert race.look() == race.before


# Depth, descriptors, names ---------------------------------------------------------------------------------------


@pytest.fixture
def deep_directory():
    """Like tmp_path, but removed by something that goes deeper than PATH_MAX."""
    path = tempfile.mkdtemp(prefix="eacopy-deep-")
    yield path
    trees.remove(path)


def make_deep(root, levels, name, pipe=False):
    """A chain of directories below `root` with a file at each end, and at the far one a FIFO if asked for."""
    os.mkdir(root)
    here = os.open(root, os.O_RDONLY)
    try:
        for level in range(levels):
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
            if level in (0, levels - 1):
                descriptor = os.open("leaf", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=here)
                os.write(descriptor, b"content %d" % level)
                os.close(descriptor)
        if pipe:
            os.mkfifo("pipe", dir_fd=here)
        os.utime(".", ns=(10**18, 10**18 + 5), dir_fd=here)
    finally:
        os.close(here)


@pytest.mark.parametrize(
    "levels, name, limit, symlinks",
    [(19, "d" * 199, 1024, True), (2000, "d" * 20, 1024, False), (2000, "d", 64, True), (2000, "d", 64, False)],
    ids=[
        "4000 characters",
        "2000 levels beyond PATH_MAX",
        "2000 levels with 64 descriptors",
        "the same, following links",
    ],
)
def test_a_deep_tree_is_copied(backend, deep_directory, levels, name, limit, symlinks):
    source, target = os.path.join(deep_directory, "s"), os.path.join(deep_directory, "t")
    make_deep(source, levels, name)
    outcome = harness.session().call(
        "copytree",
        source,
        target,
        backend=backend,
        watch=None,
        keywords={"symlinks": symlinks},
        limits={"RLIMIT_NOFILE": limit},
        timeout=60,
    )
    assert outcome.error is None and not outcome.signal, outcome
    assert trees.snapshot(target) == trees.snapshot(source)


def test_a_failure_beyond_path_max_is_named_by_its_whole_path(backend, deep_directory):
    source, target = os.path.join(deep_directory, "s"), os.path.join(deep_directory, "t")
    make_deep(source, 1000, "d" * 9, pipe=True)
    outcome = harness.session().call("copytree", source, target, backend=backend, watch=None, timeout=60)
    assert outcome.error is not None and outcome.error.is_a("Error"), outcome
    below = "/" + "/".join(["d" * 9] * 1000) + "/pipe"
    assert [triple[:2] for triple in outcome.error.triples] == [(source + below, target + below)]
    assert outcome.error.errors[0].is_a("SpecialFileError")


def test_path_components_that_are_too_long_are_a_clear_error(place):
    target = os.path.join(place.directory, "x" * 256)
    outcome = place.call("copyfile", place.source, target)
    assert (
        outcome.error is not None
        and outcome.error.is_a("PathError", "OSError")
        and outcome.error.errno == errno.ENAMETOOLONG
    )


@pytest.mark.parametrize("threads", [1, 16])
def test_a_wide_tree_is_copied_with_64_descriptors(backend, tmp_path, threads):
    source, target = str(tmp_path / "s"), str(tmp_path / "t")
    for number in range(150):
        os.makedirs(source + f"/{number}/a/b")
        for name in ("/file", "/a/file", "/a/b/file"):
            trees.write(source + f"/{number}" + name, b"content %d" % number)
    outcome = harness.session().call(
        "copytree",
        source,
        target,
        backend=backend,
        watch=tmp_path,
        config={"thread_count": threads},
        limits={"RLIMIT_NOFILE": 64},
    )
    assert outcome.error is None, outcome
    assert trees.snapshot(target) == trees.snapshot(source)


def test_no_descriptor_stays_open_after_a_copy_or_a_failure(place, tree):
    os.mkfifo(tree + "/pipe")
    outcome = place.execute(
        "before = sorted(os.listdir('/proc/self/fd'))\n"
        "for attempt in range(3):\n"
        "    py_eacopy.copy2(source, destination, config=config)\n"
        "    target = copy + str(attempt)\n"
        "    for arguments in ((tree, target), (tree, target), (source, '/nowhere/at/all')):\n"
        "        try: py_eacopy.copytree(*arguments, config=config)\n"
        "        except OSError: pass\n"
        "    try: py_eacopy.copyfile(source, '/nowhere/at/all', config=config)\n"
        "    except OSError: pass\n"
        "result = before, sorted(os.listdir('/proc/self/fd')), threads()",
        tree=tree,
        copy=tree + ".copy",
    )
    assert outcome.error is None, outcome
    before, after, threads = outcome.result
    assert before == after and threads == 1


NAMES = [
    b"new\nline",
    b"\xff\xfe\x80",
    b"tab\tand\rreturn",
    b"-n",
    b" ",
    b"...",
    b"x" * 255,
    b"\xf0\x9f\x98\x80",
    b"back\\slash",
    b"*?[",
    b"%s{0}",
]


@pytest.mark.parametrize("name", NAMES, ids=[repr(name[:12]) for name in NAMES])
@pytest.mark.parametrize("kind", ["str", "bytes"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_a_file_of_any_name_is_copied_and_named_rightly(place, name, kind, atomic):
    source = os.path.join(os.fsencode(place.directory), name)
    target = os.path.join(os.fsencode(place.directory), b"target", name)
    trees.write(source, place.data)
    arguments = (source, target) if kind == "bytes" else (os.fsdecode(source), os.fsdecode(target))
    outcome = place.execute(
        "names = set()\n"
        "config = config.evolve(progress_callback=lambda copied, total, name: names.add(name))\n"
        "result = py_eacopy.copy2(*arguments, config=config), names",
        arguments=arguments,
        config={"atomic": atomic},
    )
    assert outcome.error is None, outcome
    assert outcome.result == (arguments[1], {os.fsdecode(source)})
    assert trees.read(target) == place.data and os.listdir(os.path.dirname(target)) == [name]


@pytest.mark.parametrize("kind", ["str", "bytes"])
def test_a_tree_of_strange_names_is_copied_and_its_failures_are_named_rightly(place, kind):
    source, target = (
        os.path.join(os.fsencode(place.directory), b"tree\xff\n"),
        os.path.join(os.fsencode(place.directory), b"copy\xfe\n"),
    )
    os.mkdir(source)
    for name in NAMES:
        os.mkdir(os.path.join(source, name))
        trees.write(os.path.join(source, name, name), name)
        os.symlink(name, os.path.join(source, name, b"link"))
    os.mkfifo(os.path.join(source, b"\xff\xfe\x80", b"pipe\n\xfd"))
    arguments = (source, target) if kind == "bytes" else (os.fsdecode(source), os.fsdecode(target))
    outcome = place.call("copytree", *arguments, keywords={"symlinks": True})
    assert outcome.error is not None and len(outcome.error.triples) == 1, outcome
    ends = [os.path.join(root, b"\xff\xfe\x80", b"pipe\n\xfd") for root in (source, target)]
    assert list(outcome.error.triples[0][:2]) == (ends if kind == "bytes" else list(map(os.fsdecode, ends)))
    expected = trees.snapshot(source)
    del expected[b"\xff\xfe\x80/pipe\n\xfd"]
    assert trees.snapshot(target) == expected


# Callbacks that raise --------------------------------------------------------------------------------------------

#: A copy that lasts long enough to be stopped in its middle.
SLOWLY = rule(MOVES, short=PIECE, delay=20)

RAISING = (
    "import threading\n"
    "raised, count = exception('from the callback'), 0\n"
    "def callback(copied, total, name):\n"
    "    global count\n"
    "    count += 1\n"
    "    if count == when or (when < 0 and copied == total): raise raised\n"
    "config = config.evolve(progress_callback=callback)\n"
    "try: getattr(py_eacopy, function)(*arguments, config=config)\n"
    "except BaseException as error:\n"
    "    result = error is raised, count, threading.active_count(), threads()\n"
)


@pytest.mark.parametrize("exception", [LookupError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("when", [1, 2, -1], ids=["first event", "second event", "last event"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_an_exception_from_a_callback_comes_out_unchanged_and_no_partial_file_stays(place, exception, when, atomic):
    outcome = place.execute(
        RAISING,
        exception=exception,
        when=when,
        function="copyfile",
        arguments=(place.source, place.destination),
        config={"atomic": atomic, "buffer_size": PIECE},
        rules=[SLOWLY],
    )
    assert outcome.error is None and outcome.result is not None, outcome
    same, count, python_threads, left = outcome.result
    assert same and (count == when or when < 0) and (python_threads, left) == (1, 1)
    assert place.state == "absent" or (place.state == "new" and when != 1), "complete or absent"
    place.assert_tidy()


@pytest.mark.parametrize("when", [1, 7, 20])
def test_an_exception_from_a_callback_in_a_tree_leaves_only_complete_files(place, tree, when):
    outcome = place.execute(
        RAISING, exception=LookupError, when=when, function="copytree", arguments=(tree, tree + ".copy")
    )
    assert outcome.error is None and outcome.result == (True, when, 1, 1), outcome
    copied = trees.snapshot(tree + ".copy", metadata=False) if os.path.isdir(tree + ".copy") else {}
    for path, found in copied.items():
        original = os.path.join(os.fsencode(tree), path)
        assert found[0] != "file" or found[1] == trees.read(original), path
    assert not trees.temporaries(place.directory)


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_an_exception_from_a_callback_while_overwriting_keeps_the_destination(place, atomic):
    trees.write(place.destination, place.old)
    outcome = place.execute(
        RAISING,
        exception=LookupError,
        when=1,
        function="copyfile",
        arguments=(place.source, place.destination),
        config={"atomic": atomic, "buffer_size": PIECE},
        rules=[SLOWLY],
    )
    assert outcome.result and outcome.result[0], outcome
    assert place.state in (("old",) if atomic else ("old", "partial"))
    place.assert_tidy()


def test_an_exception_from_ignore_comes_out_unchanged_and_ends_the_copy(place, tree):
    outcome = place.execute(
        "raised = LookupError('from ignore')\n"
        "def ignore(directory, names):\n"
        "    if directory.endswith('deeper'): raise raised\n"
        "    return ()\n"
        "try: py_eacopy.copytree(tree, tree + '.copy', ignore=ignore, config=config)\n"
        "except LookupError as error: result = error is raised, threads()\n",
        tree=tree,
    )
    assert outcome.error is None and outcome.result == (True, 1), outcome
    assert not trees.temporaries(place.directory)


# Special files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2"])
@pytest.mark.parametrize("which", ["source", "destination"])
def test_a_fifo_is_refused_at_once(place, function, which):
    pipe = os.path.join(place.directory, "pipe")
    os.mkfifo(pipe)
    arguments = (pipe, place.destination) if which == "source" else (place.source, pipe)
    outcome = place.call(function, *arguments, timeout=30)
    assert outcome.signal != signal.SIGALRM, "it waits for the other end"
    assert outcome.error is not None and outcome.error.is_a("SpecialFileError", "EACopyError"), outcome
    assert stat.S_ISFIFO(os.stat(pipe).st_mode) and not os.path.exists(place.destination)


def test_a_fifo_a_socket_and_a_device_in_a_tree_are_named_and_the_rest_is_copied(place):
    tree = os.path.join(place.directory, "tree")
    os.mkdir(tree)
    trees.write(tree + "/file", b"content")
    os.mkfifo(tree + "/pipe")
    expected = {"pipe": "SpecialFileError", "socket": "OSError"}
    here = os.getcwd()
    os.chdir(tree)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    finally:
        os.chdir(here)
    if ROOT:
        os.mknod(tree + "/device", 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # never-ending zeros
        expected["device"] = "SpecialFileError"
    outcome = place.call("copytree", tree, tree + ".copy", timeout=30)
    assert outcome.signal != signal.SIGALRM, "it waits for one of them, or copies zeros without end"
    assert outcome.error is not None and outcome.error.is_a("Error"), outcome
    failed = {os.path.basename(triple[0]): error for triple, error in zip(outcome.error.triples, outcome.error.errors)}
    assert set(failed) == set(expected)
    assert all(failed[name].is_a(cls) for name, cls in expected.items()), failed
    assert failed["socket"].errno == errno.ENXIO
    assert os.listdir(tree + ".copy") == ["file"]


@needs_root
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("function", ["copyfile", "copy"])
def test_a_device_as_destination_is_written_to_and_stays_a_device(place, function, atomic):
    null = os.path.join(
        place.directory, "null"
    )  # a double of /dev/null, for a test that fails must not cost the real one
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    outcome = place.call(function, place.source, null, config={"atomic": atomic})
    assert stat.S_ISCHR(os.lstat(null).st_mode), "the device was replaced"
    assert outcome.error is None and outcome.result == null, outcome
    assert not outcome.of("unlink|rename")


@needs_root
def test_a_device_that_refuses_the_data_stays_a_device(place):
    full = os.path.join(place.directory, "full")
    os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    outcome = place.call("copyfile", place.source, full)
    assert stat.S_ISCHR(os.lstat(full).st_mode), "the device was removed"
    assert outcome.error is not None and outcome.error.errno == errno.ENOSPC, outcome


# Links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["to itself", "to its directory", "to its parent", "each other", "to the root"])
def test_loops_of_links_end_and_are_named_when_links_are_followed(place, how):
    tree = os.path.join(place.directory, "tree")
    os.makedirs(tree + "/sub/inner")
    trees.write(tree + "/sub/inner/file", b"content")
    links = {
        "to itself": [("loop", "sub/loop")],
        "to its directory": [(".", "sub/loop")],
        "to its parent": [("..", "sub/inner/loop")],
        "each other": [("b", "sub/a"), ("a", "sub/b")],
        "to the root": [(tree, "sub/inner/loop")],
    }[how]
    for target, name in links:
        os.symlink(target, os.path.join(tree, name))
    outcome = place.call("copytree", tree, tree + ".copy", timeout=30)
    assert outcome.signal != signal.SIGALRM, "it follows the loop"
    assert outcome.error is not None and outcome.error.is_a("Error"), outcome
    assert sorted(triple[0] for triple in outcome.error.triples) == sorted(
        os.path.join(tree, name) for _, name in links
    )
    assert {error.errno for error in outcome.error.errors} == {errno.ELOOP}
    assert trees.read(tree + ".copy/sub/inner/file") == b"content"


def test_loops_of_links_are_copied_as_links_when_links_are_kept(place):
    tree = os.path.join(place.directory, "tree")
    os.mkdir(tree)
    for target, name in (("loop", "loop"), (".", "here"), ("..", "up"), (tree, "root")):
        os.symlink(target, os.path.join(tree, name))
    outcome = place.call("copytree", tree, tree + ".copy", keywords={"symlinks": True})
    assert outcome.error is None, outcome
    assert trees.snapshot(tree + ".copy") == trees.snapshot(tree)


def test_a_directory_that_two_links_lead_to_is_no_loop(place):
    tree = os.path.join(place.directory, "tree")
    os.makedirs(tree + "/real")
    trees.write(tree + "/real/file", b"content")
    os.symlink("real", tree + "/first")
    os.symlink("real", tree + "/second")
    outcome = place.call("copytree", tree, tree + ".copy")
    assert outcome.error is None, outcome
    assert {trees.read(f"{tree}.copy/{name}/file") for name in ("real", "first", "second")} == {b"content"}
    assert not os.path.islink(tree + ".copy/first")


@pytest.mark.parametrize("below", ["copy", "sub/copy", "new/copy", "sub/deeper/deepest/copy", "through a link"])
@pytest.mark.parametrize("symlinks", [True, False])
def test_a_tree_copied_into_itself_ends_and_holds_what_was_there_before(place, tree, below, symlinks):
    os.unlink(tree + "/dangling")
    if not symlinks:
        os.unlink(tree + "/link to sub")  # leads to where the copy may go: another story
    before = trees.snapshot(tree, metadata=False)
    target = os.path.join(tree, below)
    if below == "through a link":
        os.symlink(tree + "/sub", place.directory + "/link")
        target = place.directory + "/link/copy"
    outcome = place.call("copytree", tree, target, keywords={"symlinks": symlinks}, timeout=30)
    assert outcome.signal != signal.SIGALRM and (outcome.error is None or outcome.error.is_a("Error")), outcome
    copied = trees.snapshot(target, metadata=False)
    depth = max(path.count(b"/") for path in before)
    assert max(path.count(b"/") for path in copied) <= depth, "it copied its own copy"
    missing = [path for path, found in before.items() if found[0] == "file" and copied.get(path) != found]
    assert not missing


def test_hard_links_become_files_of_their_own_as_with_shutil(place, tree):
    outcome = place.call("copytree", tree, tree + ".copy", keywords={"symlinks": True})
    assert outcome.error is None, outcome
    first, second = os.stat(tree + ".copy/page"), os.stat(tree + ".copy/page again")
    assert first.st_ino != second.st_ino and first.st_nlink == second.st_nlink == 1
    assert trees.read(tree + ".copy/page") == trees.read(tree + ".copy/page again") == trees.read(tree + "/page")


@pytest.mark.parametrize("function", ["copyfile", "copy", "copy2"])
def test_a_destination_that_is_a_link_is_written_through_as_with_shutil(place, function):
    behind = os.path.join(place.directory, "target", "behind")
    for content in (None, b"old"):  # a dangling link first
        if content is not None:
            trees.write(behind, content)
        os.symlink("behind", place.destination)
        outcome = place.call(function, place.source, place.destination)
        assert outcome.error is None, outcome
        assert os.path.islink(place.destination) and trees.read(behind) == place.data
        os.unlink(place.destination)
        os.unlink(behind)


@pytest.mark.parametrize("symlinks", [True, False])
def test_every_file_of_a_tree_is_like_that_of_shutil(place, tree, symlinks):
    os.chmod(tree + "/sub", 0o2755)
    if not symlinks:
        os.unlink(tree + "/dangling")
    as_shutil("copytree", tree, tree + ".theirs", symlinks=symlinks)
    outcome = place.call("copytree", tree, tree + ".ours", keywords={"symlinks": symlinks})
    assert outcome.error is None, outcome
    assert trees.snapshot(tree + ".ours") == trees.snapshot(tree + ".theirs")


def test_the_temporary_name_is_one_that_a_person_can_tell(place):
    outcome = place.copy(existing=True, config={"atomic": True})
    place.assert_copied(outcome)
    (renamed,) = outcome.of("rename")
    assert re.match(r"\.eacopy-[0-9a-f]{16}\.tmp$", os.path.basename(renamed.path))
