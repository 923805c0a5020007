"""copytree: what it copies, asks, returns and raises, beside shutil.copytree itself."""

import errno
import logging
import os
import pathlib
import shutil
import stat
import threading

import pytest
from users import as_user

import py_eacopy
from py_eacopy import Config, ErrorStrategy, temporary_config

posix = pytest.mark.skipif(os.name != "posix", reason="the file system of POSIX")
as_bytes = pytest.mark.parametrize("kind", [os.fspath, os.fsencode], ids=["str", "bytes"])
#: Before any test runs.
LONG_AGO = 1_500_000_000_123_456_789


@pytest.fixture
def tree(tmp_path):
    """A tree with something of each sort that shutil copies without an error."""
    root = tmp_path / "tree"
    for directory in ("", "empty", "a", "a/b", "a/b/c", "many", "closed"):
        (root / directory).mkdir()
    (root / "empty file").write_bytes(b"")
    (root / "small.txt").write_bytes(b"small")
    (root / "large.bin").write_bytes(os.urandom(1024 * 1024 + 1))
    (root / "script.sh").write_bytes(b"#!/bin/sh\n")
    (root / "a" / "b" / "c" / "deep.tmp").write_bytes(b"deep")
    (root / "a" / "b" / "note.txt").write_bytes(b"note")
    for number in range(40):
        (root / "many" / ("file %02d" % number)).write_bytes(b"%d" % number * number)
    (root / "closed" / "inside").write_bytes(b"inside")
    if os.name == "posix":
        (root / "link to file").symlink_to("small.txt")
        (root / "link to directory").symlink_to("a/b")
        (root / "a" / "link up").symlink_to("../small.txt")
        pathlib.Path(os.fsdecode(os.fsencode(str(root)) + b"/caf\xe9\n")).write_bytes(b"odd name")
        (root / "script.sh").chmod(0o755)
        (root / "small.txt").chmod(0o400)
        (root / "closed").chmod(0o500)
    for directory, _, names in os.walk(str(root), topdown=False):
        for path in [os.path.join(directory, name) for name in names] + [directory]:
            os.utime(path, ns=(LONG_AGO, LONG_AGO + len(path)))
    yield root
    for directory in tmp_path.glob("*/closed"):
        directory.chmod(0o700)


def snapshot(root, *, times=True):
    """Everything in a tree that a copy of it should have too."""
    found = {}
    for directory, directories, names in os.walk(str(root)):
        for path in [os.path.join(directory, name) for name in (*directories, *names)] + [directory]:
            status = os.lstat(path)
            entry = [stat.S_IFMT(status.st_mode)]
            if stat.S_ISLNK(status.st_mode):
                entry.append(os.readlink(path))
            else:
                entry.append(stat.S_IMODE(status.st_mode))
                if stat.S_ISREG(status.st_mode):
                    with open(path, "rb") as file:
                        entry.append(file.read())
                # The mtime of what was not kept is a time of now.
                if times and status.st_mtime < 1_600_000_000:
                    entry.append(status.st_mtime_ns)
            found[os.path.relpath(path, str(root))] = tuple(entry)
    return found


def failure(function, *arguments, **keywords):
    with pytest.raises(Exception) as raised:
        function(*arguments, **keywords)
    return raised.value


# What is copied -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symlinks", [False, True])
@pytest.mark.parametrize("copy_function", ["default", "copy2", "copy", "copyfile"])
def test_copy_is_that_of_shutil(backend, symlinks, copy_function, tree, tmp_path):
    theirs, ours = {}, {}
    if copy_function != "default":
        theirs["copy_function"] = getattr(shutil, copy_function)
        ours["copy_function"] = getattr(py_eacopy, copy_function)
    shutil.copytree(str(tree), str(tmp_path / "theirs"), symlinks, **theirs)
    py_eacopy.copytree(str(tree), str(tmp_path / "ours"), symlinks, **ours)
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")
    if copy_function in ("default", "copy2"):
        assert (tmp_path / "ours" / "small.txt").stat().st_mtime_ns == (tree / "small.txt").stat().st_mtime_ns


@pytest.mark.parametrize("name, metadata", [("copy2", "stat"), ("copy", "mode"), ("copyfile", "none")])
@pytest.mark.parametrize("module", [py_eacopy, shutil], ids=["ours", "shutil's"])
def test_known_copy_functions_are_the_engines(backend, module, name, metadata, tree, tmp_path, jobs):
    py_eacopy.copytree(tree, tmp_path / "copy", copy_function=getattr(module, name))
    assert [job.options.metadata for job in jobs] == [metadata]


def test_metadata_that_is_not_to_be_preserved(backend, tree, tmp_path, jobs):
    with temporary_config(preserve_metadata=False):
        py_eacopy.copytree(tree, tmp_path / "copy")
        py_eacopy.copytree(tree, tmp_path / "given", copy_function=py_eacopy.copy2)
    assert [job.options.metadata for job in jobs] == ["mode", "stat"]
    assert (tmp_path / "copy" / "small.txt").stat().st_mtime > 1_600_000_000
    assert (tmp_path / "copy").stat().st_mtime_ns == tree.stat().st_mtime_ns  # of directories it is kept, as by shutil


@pytest.fixture
def jobs(backend, monkeypatch):
    """Takes in each job that the backend runs."""
    cls = type(py_eacopy._strategy.backend_for(py_eacopy.config))
    seen, run = [], cls.run
    monkeypatch.setattr(cls, "run", lambda self, job, control: (seen.append(job), run(self, job, control))[1])
    return seen


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path, lambda path: next(os.scandir(str(path.parent)))])
def test_returns_the_destination_as_given(backend, kind, tmp_path):
    (tmp_path / "parent" / "tree").mkdir(parents=True)
    (tmp_path / "parent" / "tree" / "file").write_bytes(b"x")
    src = kind(tmp_path / "parent" / "tree")
    dst = os.fsencode(tmp_path / "new") if isinstance(src, bytes) else tmp_path / "new"
    assert py_eacopy.copytree(src, dst) is dst
    assert (tmp_path / "new" / "file").read_bytes() == b"x"


def test_missing_parents_are_made(backend, tree, tmp_path):
    py_eacopy.copytree(tree, tmp_path / "x" / "y" / "z", symlinks=True)
    assert snapshot(tmp_path / "x" / "y" / "z") == snapshot(tree)


@posix
def test_root_that_is_a_link_is_followed(backend, tree, tmp_path):
    (tmp_path / "link").symlink_to("tree")
    for symlinks in (False, True):
        dst = tmp_path / ("copy %s" % symlinks)
        py_eacopy.copytree(tmp_path / "link", dst, symlinks=symlinks)
        assert not dst.is_symlink() and (dst / "small.txt").read_bytes() == b"small"


def test_copy_into_itself_does_not_descend_into_the_copy(backend, tmp_path):
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "file").write_bytes(b"x")
    py_eacopy.copytree(tmp_path / "tree", tmp_path / "tree" / "below" / "copy")
    copy = tmp_path / "tree" / "below" / "copy"
    assert sorted(os.listdir(str(copy))) == ["below", "file"]
    assert os.listdir(str(copy / "below")) == []


def test_trees_can_be_copied_in_several_threads(backend, tree, tmp_path):
    threads = [
        threading.Thread(target=py_eacopy.copytree, args=(tree, tmp_path / str(number), True)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = snapshot(tree)
    assert all(snapshot(tmp_path / str(number)) == expected for number in range(4))


# Directories that exist -----------------------------------------------------------------------------------------------


@pytest.fixture
def occupied(tmp_path):
    (tmp_path / "copy" / "a").mkdir(parents=True)
    (tmp_path / "copy" / "a" / "mine").write_bytes(b"mine")
    (tmp_path / "copy" / "small.txt").write_bytes(b"old")
    return tmp_path / "copy"


def test_existing_directory_is_refused_by_default(backend, tree, occupied):
    before = snapshot(occupied)
    for keywords in ({}, {"dirs_exist_ok": False}, {"config": Config()}):
        error = failure(py_eacopy.copytree, tree, occupied, **keywords)
        assert isinstance(error, FileExistsError) and error.filename2 == str(occupied)
    assert snapshot(occupied) == before


@pytest.mark.parametrize(
    "config, given, merged",
    [(False, True, True), (True, None, True), (True, False, False), (False, None, False), (False, 1, True)],
)
def test_existing_directory_is_merged_when_call_or_config_say_so(backend, config, given, merged, tree, occupied):
    keywords = {} if given is None else {"dirs_exist_ok": given}
    with temporary_config(dirs_exist_ok=config):
        if merged:
            py_eacopy.copytree(tree, occupied, **keywords)
            assert (occupied / "a" / "mine").read_bytes() == b"mine"
            assert (occupied / "small.txt").read_bytes() == b"small"
            assert len(os.listdir(str(occupied / "many"))) == 40
        else:
            assert isinstance(failure(py_eacopy.copytree, tree, occupied, **keywords), FileExistsError)
            assert (occupied / "small.txt").read_bytes() == b"old"


# ignore ---------------------------------------------------------------------------------------------------------------


def asked_by(copytree, *arguments, **keywords):
    """What a copytree asks an ignore function, and what it is given back."""
    asked = []

    def ignore(directory, names):
        assert type(names) is list
        asked.append((directory, sorted(names)))
        return ["many", b"many"]

    copytree(*arguments, ignore=ignore, **keywords)
    # Siblings come in any order.
    return sorted(asked)


@pytest.mark.parametrize("symlinks", [False, True])
@pytest.mark.parametrize("ending", ["", os.sep])
@as_bytes
def test_ignore_is_asked_what_shutil_asks(backend, symlinks, ending, kind, tree, tmp_path):
    src, theirs, ours = kind(str(tree) + ending), kind(str(tmp_path / "theirs")), kind(str(tmp_path / "ours"))
    expected = asked_by(shutil.copytree, src, theirs, symlinks=symlinks)
    assert asked_by(py_eacopy.copytree, src, ours, symlinks=symlinks) == expected
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")
    assert not (tmp_path / "ours" / "many").exists()


def test_ignore_is_asked_with_str_for_a_path_object(backend, tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tree.parent)
    expected = asked_by(shutil.copytree, pathlib.Path("tree"), "theirs")
    assert asked_by(py_eacopy.copytree, pathlib.Path("tree"), "ours") == expected
    assert ("tree", sorted(os.listdir("tree"))) in expected


def test_ignore_is_called_in_the_calling_thread_and_the_engine_copies(backend, tree, tmp_path, jobs):
    threads = set()

    def ignore(directory, names):
        threads.add(threading.current_thread())
        return ()

    py_eacopy.copytree(tree, tmp_path / "copy", True, ignore)
    assert threads == {threading.current_thread()} and len(jobs) == 1
    assert snapshot(tmp_path / "copy") == snapshot(tree)


class AnyCase:
    """A collection that has its own idea of what is in it."""

    def __contains__(self, name):
        return name.upper() == "SMALL.TXT"


@pytest.mark.parametrize(
    "result",
    [
        {"small.txt", "many"},
        frozenset({"small.txt", "many"}),
        ["small.txt", "many", "not there"],
        ("small.txt", "many"),
        {"small.txt": 1, "many": 2},
        ["small.txt", ["cannot be hashed"], None],
        AnyCase(),
        set(),
        [],
    ],
    ids=lambda value: type(value).__name__,
)
def test_ignore_may_return_what_it_may_return_to_shutil(backend, result, tree, tmp_path):
    shutil.copytree(str(tree), str(tmp_path / "theirs"), ignore=lambda directory, names: result)
    py_eacopy.copytree(tree, tmp_path / "ours", ignore=lambda directory, names: result)
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")


def test_ignore_may_return_an_iterator(backend, tree, tmp_path):
    py_eacopy.copytree(tree, tmp_path / "copy", ignore=lambda directory, names: (name for name in names))
    assert os.listdir(str(tmp_path / "copy")) == []


def test_ignore_may_change_the_list_it_is_given(backend, tree, tmp_path):
    py_eacopy.copytree(tree, tmp_path / "copy", True, ignore=lambda directory, names: names.clear() or ())
    assert snapshot(tmp_path / "copy") == snapshot(tree)


@pytest.mark.parametrize("result", [None, 1, True])
def test_ignore_must_return_names(backend, result, tree, tmp_path):
    with pytest.raises(TypeError, match="ignore must return .*%s" % type(result).__name__):
        py_eacopy.copytree(tree, tmp_path / "copy", ignore=lambda directory, names: result)


def test_ignore_patterns(backend, tree, tmp_path):
    ignore = py_eacopy.ignore_patterns("*.tmp", "file 1*", "closed")
    shutil.copytree(str(tree), str(tmp_path / "theirs"), ignore=ignore)
    py_eacopy.copytree(tree, tmp_path / "ours", ignore=ignore)
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")
    assert len(os.listdir(str(tmp_path / "ours" / "many"))) == 30


@pytest.mark.parametrize("error", [OSError("mine"), KeyError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_exception_out_of_ignore_comes_out_unchanged(backend, error, tree, tmp_path):
    def ignore(directory, names):
        if os.path.basename(directory) == "b":
            raise error
        return ()

    with pytest.raises(type(error)) as raised:
        py_eacopy.copytree(tree, tmp_path / "copy", ignore=ignore)
    assert raised.value is error
    for directory, _, names in os.walk(str(tmp_path / "copy")):
        for path in (pathlib.Path(directory, name) for name in names):
            original = tree / path.relative_to(tmp_path / "copy")
            assert path.read_bytes() == original.read_bytes()  # nothing half-written


# Arguments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["ignore", "copy_function"])
@pytest.mark.parametrize("bad", [True, False, 1, "*.tmp"])
def test_what_cannot_be_called_is_named(keyword, bad, tree, tmp_path):
    error = failure(py_eacopy.copytree, tree, tmp_path / "copy", **{keyword: bad})
    assert type(error) is TypeError
    assert keyword in str(error) and ("bool" if isinstance(bad, bool) else type(bad).__name__) in str(error)
    assert not (tmp_path / "copy").exists()


def test_flags_in_the_wrong_positions_are_named(tree, tmp_path):
    flags = ((False, True), (True, False), (False, None, True))
    for arguments, keyword in zip(flags, ("ignore", "ignore", "copy_function")):
        assert keyword in str(failure(py_eacopy.copytree, tree, tmp_path / "copy", *arguments))
    assert not (tmp_path / "copy").exists()


def test_no_copy_function_is_refused_as_such(tree, tmp_path):
    assert "copy_function" in str(failure(py_eacopy.copytree, tree, tmp_path / "copy", copy_function=None))


@pytest.mark.parametrize("bad", [None, 3, ["a"]])
def test_what_is_no_path_is_named(bad, tree, tmp_path):
    assert "src must be" in str(failure(py_eacopy.copytree, bad, tmp_path / "copy"))
    assert "dst must be" in str(failure(py_eacopy.copytree, tree, bad))
    assert isinstance(failure(py_eacopy.copytree, tree, bad), TypeError)


def test_str_and_bytes_cannot_be_mixed(tree, tmp_path):
    for src, dst in ((str(tree), os.fsencode(tmp_path / "copy")), (os.fsencode(tree), tmp_path / "copy")):
        assert isinstance(failure(py_eacopy.copytree, src, dst), TypeError)
    assert not (tmp_path / "copy").exists()


def test_nul_and_empty_paths_are_refused(backend, tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tree)
    for src, dst in (("a\0b", str(tmp_path / "copy")), (str(tree), str(tmp_path / "copy\0"))):
        assert isinstance(failure(py_eacopy.copytree, src, dst), py_eacopy.InvalidArgumentError)
    for src, dst in (("", str(tmp_path / "copy")), (str(tree), "")):
        assert isinstance(failure(py_eacopy.copytree, src, dst), FileNotFoundError)
    assert not (tmp_path / "copy").exists()


# Errors ---------------------------------------------------------------------------------------------------------------


def roots():
    """What can be wrong with src or dst themselves: (directory) -> (src, dst)."""

    def missing_source(d):
        return d / "missing", d / "copy"

    def source_is_a_file(d):
        return d / "tree" / "small.txt", d / "copy"

    def source_is_a_dangling_link(d):
        (d / "dangling").symlink_to("nowhere")
        return d / "dangling", d / "copy"

    def source_is_below_a_file(d):
        return d / "tree" / "small.txt" / "x", d / "copy"

    def target_is_a_directory(d):
        return d / "tree", d / "tree" / "empty"

    def target_is_a_file(d):
        return d / "tree", d / "tree" / "small.txt"

    def target_is_below_a_file(d):
        return d / "tree", d / "tree" / "small.txt" / "x"

    def target_is_a_link(d):
        (d / "link").symlink_to("nowhere")
        return d / "tree", d / "link"

    def target_is_too_long(d):
        return d / "tree", d / ("x" * 256)

    def target_is_the_source(d):
        return d / "tree", d / "tree"

    made = dict(locals())
    return {name.replace("_", " "): make for name, make in made.items()}


ROOTS = roots()


@posix
@pytest.mark.parametrize("root", ROOTS.values(), ids=list(ROOTS))
@pytest.mark.parametrize("copy_function", ["engine", "custom"])
@as_bytes
def test_root_fails_as_with_shutil(backend, root, copy_function, kind, tmp_path):
    (tmp_path / "tree" / "empty").mkdir(parents=True)
    (tmp_path / "tree" / "small.txt").write_bytes(b"small")
    src, dst = map(kind, map(str, root(tmp_path)))
    before = snapshot(tmp_path)
    theirs = failure(shutil.copytree, src, dst)
    assert snapshot(tmp_path) == before
    keywords = {"copy_function": lambda a, b: None} if copy_function == "custom" else {}
    ours = failure(py_eacopy.copytree, src, dst, **keywords)
    assert snapshot(tmp_path) == before
    assert isinstance(ours, py_eacopy.EACopyError) and not isinstance(ours, shutil.Error)
    assert isinstance(ours, type(theirs)) and ours.errno == theirs.errno, (ours, theirs)
    assert (ours.filename, ours.filename2) == (src, dst)


@pytest.fixture
def flawed(tree):
    """A tree in which some things cannot be copied."""
    os.mkfifo(str(tree / "a" / "fifo"))
    (tree / "dangling").symlink_to("nowhere")
    (tree / "a" / "b" / "loop").symlink_to("loop")
    return tree


@posix
@as_bytes
def test_failures_are_collected_as_by_shutil(backend, kind, flawed, tmp_path):
    src = kind(str(flawed))
    theirs = failure(shutil.copytree, src, kind(str(tmp_path / "theirs")))
    ours = failure(py_eacopy.copytree, src, kind(str(tmp_path / "ours")))
    assert type(ours) is py_eacopy.TreeError and isinstance(ours, shutil.Error)
    assert type(ours.args[0]) is list

    def pairs(error, name):
        return sorted((s, d.replace(kind(str(tmp_path / name)), kind("dst"))) for s, d, _ in error.args[0])

    assert pairs(ours, "ours") == pairs(theirs, "theirs")
    # a/fifo, a/b/loop, dangling, and both of a/b's again through "link to directory"
    assert len(ours.args[0]) == 4
    assert [(error.filename, error.filename2) for error in ours.errors] == [triple[:2] for triple in ours.args[0]]
    assert all(str(error) == triple[2] for error, triple in zip(ours.errors, ours.args[0]))
    assert all(not error.root for error in ours.errors)
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")


@posix
def test_kinds_of_what_failed_in_a_tree(backend, flawed, tmp_path):
    error = failure(py_eacopy.copytree, flawed, tmp_path / "copy")
    found = {os.path.basename(inner.filename): type(inner) for inner in error.errors}
    assert found == {
        "fifo": py_eacopy.SpecialFileCopyError,
        "dangling": py_eacopy.SourceNotFoundError,
        "loop": py_eacopy.PathError,
    }
    assert ["`%s` is a named pipe" % (flawed / "a" / "fifo")] == [
        reason for source, _, reason in error.args[0] if source.endswith("fifo")
    ]


@posix
def test_dangling_links_are_left_out_on_request(backend, tree, tmp_path):
    (tree / "dangling").symlink_to("nowhere")
    (tree / "a" / "dangling too").symlink_to("/nowhere/at/all")
    py_eacopy.copytree(tree, tmp_path / "copy", ignore_dangling_symlinks=True)
    assert not os.path.lexists(str(tmp_path / "copy" / "dangling"))
    assert (tmp_path / "copy" / "link to file").read_bytes() == b"small"
    py_eacopy.copytree(tree, tmp_path / "links", symlinks=True, ignore_dangling_symlinks=True)
    assert os.readlink(str(tmp_path / "links" / "dangling")) == "nowhere"


@posix
def test_failures_may_be_ignored(backend, flawed, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "py_eacopy"), temporary_config(error_strategy=ErrorStrategy.IGNORE):
        assert py_eacopy.copytree(flawed, tmp_path / "copy") == tmp_path / "copy"
        assert py_eacopy.copytree(tmp_path / "missing", tmp_path / "nothing") == tmp_path / "nothing"
    assert len(caplog.records) == 5
    assert all(name in caplog.text for name in ("fifo", "dangling", "loop", "missing"))
    assert (tmp_path / "copy" / "many" / "file 39").exists()


@posix
def test_file_onto_a_directory_and_directory_onto_a_file(backend, tree, tmp_path):
    """A difference from shutil, whose copy2 puts a file that meets a directory of its name into that directory."""
    (tmp_path / "copy" / "small.txt").mkdir(parents=True)
    (tmp_path / "copy" / "many").write_bytes(b"")
    error = failure(py_eacopy.copytree, str(tree), str(tmp_path / "copy"), dirs_exist_ok=True)
    failed = {os.path.basename(inner.filename): type(inner) for inner in error.errors}
    assert failed == {"many": py_eacopy.DestinationExistsError, "small.txt": py_eacopy.DestinationIsDirectoryError}
    assert os.listdir(str(tmp_path / "copy" / "small.txt")) == []
    assert (tmp_path / "copy" / "large.bin").read_bytes() == (tree / "large.bin").read_bytes()


# Progress -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy_function", ["engine", "custom"])
@as_bytes
def test_progress_of_each_file(backend, copy_function, kind, tree, tmp_path):
    calls = {}
    config = Config(progress_callback=lambda copied, total, name: calls.setdefault(name, []).append((copied, total)))
    keywords = {"copy_function": lambda a, b: shutil.copy2(a, b)} if copy_function == "custom" else {}
    py_eacopy.copytree(kind(str(tree)), kind(str(tmp_path / "copy")), symlinks=True, config=config, **keywords)
    sizes = {}
    for directory, _, names in os.walk(str(tree)):
        for path in (os.path.join(directory, name) for name in names):
            if not os.path.islink(path):
                sizes[path] = os.path.getsize(path)
    assert set(calls) == set(sizes)
    for name, pairs in calls.items():
        assert pairs[0] == (0, sizes[name]) and pairs[-1] == (sizes[name], sizes[name])
        assert len(pairs) >= 2 and pairs == sorted(pairs)


@pytest.mark.parametrize("copy_function", ["engine", "custom"])
@pytest.mark.parametrize("error", [OSError("mine"), shutil.Error("mine"), KeyError(), KeyboardInterrupt()], ids=repr)
def test_exception_out_of_the_callback_comes_out_unchanged(backend, copy_function, error, tree, tmp_path):
    def callback(*_):
        raise error

    keywords = {"copy_function": lambda a, b: shutil.copy2(a, b)} if copy_function == "custom" else {}
    config = Config(progress_callback=callback)
    with pytest.raises(type(error)) as raised:
        py_eacopy.copytree(tree, tmp_path / "copy", config=config, **keywords)
    assert raised.value is error


# Any other copy_function ----------------------------------------------------------------------------------------------


def test_any_function_is_called_for_each_file_as_by_shutil(backend, tree, tmp_path):
    def calls_of(copytree, dst):
        calls = []

        def copy_function(source, destination, **keywords):
            assert not keywords
            calls.append((type(source), source, destination.replace(str(dst), "dst")))

        assert copytree(str(tree), str(dst), copy_function=copy_function) == str(dst)
        return sorted(calls, key=repr)

    assert calls_of(py_eacopy.copytree, tmp_path / "ours") == calls_of(shutil.copytree, tmp_path / "theirs")
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")


def test_any_function_goes_with_all_other_arguments(backend, tree, tmp_path):
    (tmp_path / "ours").mkdir()
    arguments = {"symlinks": True, "ignore": py_eacopy.ignore_patterns("many"), "dirs_exist_ok": True}
    py_eacopy.copytree(tree, tmp_path / "ours", copy_function=lambda a, b: shutil.copy2(a, b), **arguments)
    shutil.copytree(str(tree), str(tmp_path / "theirs"), **arguments)
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")


def test_errors_of_any_function_are_collected(backend, tree, tmp_path):
    def copy_function(source, destination):
        if source.endswith("small.txt"):
            raise OSError(errno.EIO, "mine")
        if source.endswith("large.bin"):
            return py_eacopy.copyfile(source, source)  # a SameFileError, whose argument is no list
        return py_eacopy.copy2(source, destination)

    error = failure(py_eacopy.copytree, str(tree), str(tmp_path / "copy"), True, copy_function=copy_function)
    assert isinstance(error, py_eacopy.TreeError)
    assert sorted(error.args[0]) == [
        (
            str(tree / "large.bin"),
            str(tmp_path / "copy" / "large.bin"),
            "%r and %r are the same file" % (str(tree / "large.bin"), str(tree / "large.bin")),
        ),
        (str(tree / "small.txt"), str(tmp_path / "copy" / "small.txt"), "[Errno %d] mine" % errno.EIO),
    ]


def test_other_exceptions_of_any_function_come_out(backend, tree, tmp_path):
    mine = KeyError("mine")

    def copy_function(source, destination):
        raise mine

    assert failure(py_eacopy.copytree, tree, tmp_path / "copy", copy_function=copy_function) is mine


def test_any_function_is_tried_again_or_ignored(backend, tmp_path, caplog):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    tries = []

    def copy_function(source, destination):
        tries.append(source)
        raise OSError(errno.EIO, "mine")

    config = Config(error_strategy="retry", retry_count=2, retry_delay=0.01)
    keywords = {"copy_function": copy_function, "dirs_exist_ok": True}
    error = failure(py_eacopy.copytree, tmp_path / "tree", tmp_path / "copy", config=config, **keywords)
    assert isinstance(error, shutil.Error)
    assert len(tries) == 3
    with caplog.at_level(logging.WARNING, "py_eacopy"):
        py_eacopy.copytree(tmp_path / "tree", tmp_path / "copy", config=Config(error_strategy="ignore"), **keywords)
    assert len(tries) == 4 and "mine" in caplog.text


@posix
@pytest.mark.parametrize("function", [py_eacopy.copyfile, py_eacopy.copy, py_eacopy.copy2])
def test_links_have_their_times_whatever_copies_the_files(backend, tmp_path, function):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("nowhere")
    os.utime(str(tmp_path / "tree" / "link"), ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)
    py_eacopy.copytree(tmp_path / "tree", tmp_path / "copy", symlinks=True, copy_function=function)
    assert os.lstat(str(tmp_path / "copy" / "link")).st_mtime_ns == LONG_AGO


@posix
def test_a_link_that_can_lead_nowhere_is_left_out_with_those_that_dangle(backend, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    for name, target in (("missing", "nowhere"), ("through", "file/x"), ("loop", "loop"), ("long", "x" * 300)):
        (tmp_path / "tree" / name).symlink_to(target)
    py_eacopy.copytree(tmp_path / "tree", tmp_path / "copy", ignore_dangling_symlinks=True)
    assert os.listdir(str(tmp_path / "copy")) == ["file"]


@posix
def test_a_link_that_nobody_may_look_through_does_not_count_as_dangling(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # another user may not come here by the whole path
    os.mkdir("tree")
    os.mkdir("closed", 0)
    os.symlink("../closed/file", "tree/link")
    os.chmod(".", 0o777)

    def run():
        error = failure(py_eacopy.copytree, "tree", "copy", ignore_dangling_symlinks=True)
        assert isinstance(error.errors[0], PermissionError)

    assert as_user(run) is None


@posix
def test_an_empty_file_over_an_empty_one_gets_a_new_time(backend, tmp_path):
    for name in ("empty", "target"):
        (tmp_path / name).write_bytes(b"")
        os.utime(str(tmp_path / name), ns=(LONG_AGO, LONG_AGO))
    py_eacopy.copyfile(tmp_path / "empty", tmp_path / "target")
    assert (tmp_path / "target").stat().st_mtime_ns > LONG_AGO


@posix
def test_a_tree_whose_destination_is_there_found_nothing_to_copy(backend, tree, tmp_path):
    (tmp_path / "copy").mkdir()
    control = py_eacopy.Control()
    assert isinstance(failure(py_eacopy.copytree, tree, tmp_path / "copy", control=control), FileExistsError)
    assert control.snapshot().files_found == 0 and control.snapshot().errors == 1
