"""Trees that nobody would think of: whatever hypothesis makes, copytree leaves behind what shutil.copytree does."""

import contextlib
import os
import shutil
import stat
import sys
import tempfile

import pytest
from faults import trees
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from users import ROOT

import py_eacopy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names are any bytes")

# The backend stays the same for all examples of a test.
PROPERTY = settings(
    max_examples=25,
    deadline=None,
    # The second is about how fast the machine makes the examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ORDINARY = not ROOT

names = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"d"]),
    st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name),
    st.text(min_size=1, max_size=60, alphabet="äß文 \n'\"").map(os.fsencode),
).filter(lambda name: name not in (b".", b".."))
small = st.integers(0, 300)
# Where one way of copying ends and the next begins.
edges = st.sampled_from([4096, 65535, 65536, 65537, 262143, 262144, (1 << 20) + 1])
sizes = st.one_of(small, small, small, edges)
times = st.integers(0, 4_000_000_000_000_000_000)
values = st.one_of(st.none(), st.binary(max_size=40))
file_modes = st.sampled_from([0o600, 0o640, 0o644, 0o755, 0o400, 0o4755, 0o2711, 0o444 if ORDINARY else 0])
directory_modes = st.sampled_from([0o700, 0o755, 0o711, 0o500, 0o1777, 0o555 if ORDINARY else 0])
targets = st.sampled_from([b"a", b"../a", b"b", b"nowhere", b"a/b", b"/dev/null/nothing", b"../d"])

files = st.tuples(st.just("file"), sizes, st.booleans(), file_modes, times, values)
links = st.tuples(st.just("link"), targets)
entries = st.recursive(
    st.one_of(files, files, links),
    lambda inner: st.tuples(
        st.just("directory"), st.dictionaries(names, inner, max_size=6), directory_modes, times, values
    ),
    max_leaves=25,
)
roots = st.dictionaries(names, entries, max_size=8)


def make(path, entry):
    """Makes what an entry describes."""
    kind = entry[0]
    if kind == "link":
        os.symlink(entry[1], path)
        return
    if kind == "file":
        _, size, sparse, mode, time, value = entry
        if sparse:
            trees.make_sparse(path, size, ((size // 2, b"x"[:size]),))
        else:
            trees.write(path, trees.make_bytes(size))
    else:
        _, inside, mode, time, value = entry
        os.mkdir(path)
        for name, inner in inside.items():
            make(os.path.join(path, name), inner)
    if value is not None:
        trees.set_attribute(path, "user.value", value)
    os.chmod(path, mode)
    os.utime(path, ns=(time, time))


def open_up(path):
    """Lets an ordinary user remove a tree."""
    if ORDINARY:
        for where, directories, _ in os.walk(path):
            for name in directories:
                inside = os.path.join(where, name)
                if not os.path.islink(inside):
                    os.chmod(inside, stat.S_IRWXU)


@contextlib.contextmanager
def workplace(root):
    """A directory with the tree in it."""
    path = os.fsencode(tempfile.mkdtemp(prefix="eacopy-property-"))
    try:
        make(os.path.join(path, b"source"), ("directory", root, 0o755, 10**18, None))
        yield path
    finally:
        open_up(path)
        trees.remove(path)


def run(copytree, source, destination, **keywords):
    """The failing pairs, with the destination's name taken out."""
    try:
        assert copytree(source, destination, **keywords) == destination
    except shutil.Error as error:
        return sorted((triple[0], os.path.relpath(triple[1], destination)) for triple in error.args[0])
    except OSError as error:
        return [error.errno]
    return []


def assert_twins(place, **keywords):
    """Both make the same of the source, and fail for the same entries."""
    source, ours, theirs = (os.path.join(place, name) for name in (b"source", b"ours", b"theirs"))
    before = trees.snapshot(source)
    expected = run(shutil.copytree, source, theirs, **keywords)
    assert run(py_eacopy.copytree, source, ours, **keywords) == expected
    assert trees.snapshot(ours) == trees.snapshot(theirs)
    assert trees.snapshot(source) == before
    return expected


@PROPERTY
@given(root=roots, threads=st.sampled_from([1, 4]))
def test_links_as_links(backend, root, threads):
    with workplace(root) as place, py_eacopy.temporary_config(backend=backend, thread_count=threads):
        assert not assert_twins(place, symlinks=True)


@PROPERTY
@given(root=roots)
def test_links_followed_and_those_that_lead_nowhere_told(backend, root):
    with workplace(root) as place, py_eacopy.temporary_config(backend=backend):
        assume(not leads_up(os.path.join(place, b"source")))  # there shutil goes on until the path is too long
        assert_twins(place)


def leads_up(path, above=()):
    """Whether following links from a directory leads to one that it is in."""
    real = os.path.realpath(path)
    inside = (os.path.join(path, name) for name in os.listdir(path))
    return real in above or any(leads_up(each, (*above, real)) for each in inside if os.path.isdir(each))


@PROPERTY
@given(root=roots, left_out=st.sets(names, max_size=3), atomic=st.booleans())
def test_what_is_ignored_and_what_is_not(backend, root, left_out, atomic):
    asked = []

    def ignore(directory, found):
        asked.append((directory, sorted(found)))
        return left_out

    with workplace(root) as place, py_eacopy.temporary_config(backend=backend, atomic=atomic):
        assert not assert_twins(place, symlinks=True, ignore=ignore)
    half = len(asked) // 2
    assert sorted(asked[:half]) == sorted(asked[half:]), "both ask about the same directories"


def without_conflicts(root, old):
    """Whether no file meets a directory: shutil puts the file into it, which nobody wants."""
    for name, entry in root.items():
        other = old.get(name)
        if other is None:
            continue
        if entry[0] == other[0] == "directory":
            if not without_conflicts(entry[1], other[1]):
                return False
        elif "link" in (entry[0], other[0]) or "directory" in (entry[0], other[0]):
            return False
    return True


@PROPERTY
@given(root=roots, old=roots, atomic=st.booleans())
def test_into_a_tree_that_is_there_already(backend, root, old, atomic):
    assume(without_conflicts(root, old))
    with workplace(root) as place, py_eacopy.temporary_config(backend=backend, atomic=atomic):
        for name in (b"ours", b"theirs"):
            make(os.path.join(place, name), ("directory", old, 0o755, 10**18, None))
        if ORDINARY:
            for name in (b"ours", b"theirs"):
                open_up(os.path.join(place, name))
        assert not assert_twins(place, symlinks=True, dirs_exist_ok=True)


@PROPERTY
@given(root=roots)
def test_every_byte_is_reported_once(backend, root):
    heard = {}

    def callback(copied, total, name):
        heard.setdefault(name, []).append((copied, total))

    with workplace(root) as place, py_eacopy.temporary_config(backend=backend, progress_callback=callback):
        source = os.path.join(place, b"source")
        py_eacopy.copytree(source, os.path.join(place, b"copy"), symlinks=True)
        sizes_of = {
            os.fsdecode(source + b"/" + path): len(entry[1])
            for path, entry in trees.snapshot(source, metadata=False).items()
            if entry[0] == "file"
        }
    assert {name: records[-1] for name, records in heard.items()} == {name: (n, n) for name, n in sizes_of.items()}
    for records in heard.values():
        copied = [record[0] for record in records]
        assert copied[0] == 0 and copied == sorted(copied) and len(records) >= 2
