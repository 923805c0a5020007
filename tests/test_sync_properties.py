"""sync with trees that nobody would think of, and killed where nobody would expect it.

PY_EACOPY_SYNC_KILLS in the environment says how often it is killed; a few times without.
"""

import contextlib
import os
import random
import signal
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_tree_properties import make, names, open_up, roots, workplace

import py_eacopy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names are any bytes")

PROPERTY = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KILLS = int(os.environ.get("PY_EACOPY_SYNC_KILLS", "6"))


@pytest.fixture(autouse=True)
def capable(backend):
    if "sync" not in py_eacopy.backend_info().capabilities:
        pytest.skip("the %s backend has no sync" % backend)


@contextlib.contextmanager
def two_trees(backend, source, target, threads):
    """The paths of two trees in a place of their own."""
    with workplace(source) as place, py_eacopy.temporary_config(backend=backend, thread_count=threads):
        destination = os.path.join(place, b"target")
        make(destination, ("directory", target, 0o755, 10**18, None))
        yield os.path.join(place, b"source"), destination


def comparable(root):
    """All of a tree that a sync makes equal. A file that is the same in size and time is not looked at further."""
    found = {}
    for above, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = os.path.join(above, name)
            info = os.lstat(path)
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISLNK(info.st_mode):
                what = ("link", os.readlink(path))
            elif stat.S_ISDIR(info.st_mode):
                what = ("directory", mode, info.st_mtime_ns)
            else:
                with open(path, "rb") as file:
                    what = ("file", mode, info.st_mtime_ns, file.read())
            found[os.path.relpath(path, root)] = what
    return found


@PROPERTY
@given(root=roots, threads=st.sampled_from([1, 4]))
def test_a_second_sync_copies_nothing(backend, root, threads):
    with two_trees(backend, root, {}, threads) as (source, target):
        first = py_eacopy.sync(source, target)
        expected = comparable(source)
        assert comparable(target) == expected
        second = py_eacopy.sync(source, target, mirror=True, record_actions=True)
        assert second.actions == ()
        assert second.files_copied == second.symlinks_copied == second.directories_created == 0
        assert second.files_skipped == first.files_copied + first.symlinks_copied
        assert comparable(target) == comparable(source) == expected
        open_up(target)


@PROPERTY
@given(source=roots, target=roots, compare=st.sampled_from(["size-mtime", "hash"]), threads=st.sampled_from([1, 4]))
def test_mirror_makes_trees_equal(backend, source, target, compare, threads):
    with two_trees(backend, source, target, threads) as (src, dst):
        before = comparable(dst)
        planned = py_eacopy.sync(src, dst, mirror=True, compare=compare, dry_run=True)
        assert comparable(dst) == before
        done = py_eacopy.sync(src, dst, mirror=True, compare=compare, record_actions=True)
        assert comparable(dst) == comparable(src)
        assert sorted(map(str, planned.actions)) == sorted(map(str, done.actions))
        for counter in ("files_copied", "bytes_copied", "files_skipped", "files_removed", "directories_removed"):
            assert getattr(planned, counter) == getattr(done, counter), counter
        open_up(dst)


@PROPERTY
@given(source=roots, target=roots, kept=names)
def test_what_is_left_out_stays_as_it_is(backend, source, target, kept):
    with two_trees(backend, source, target, 2) as (src, dst):
        pattern = kept.replace(b"*", b"?").replace(b"/", b"?")

        def of_the_kept(tree):
            return {
                path: what for path, what in tree.items() if path.split(b"/")[-1] == kept and what[0] != "directory"
            }

        before = of_the_kept(comparable(dst))
        py_eacopy.sync(src, dst, mirror=True, exclude_files=[pattern], exclude_dirs=[pattern])
        after = comparable(dst)
        for path, what in before.items():
            above = path
            while above and above not in after:
                above = os.path.dirname(above)
            # It stays, unless a file of the source needed the place of a directory above it.
            assert after.get(path) == what or comparable(src).get(path.split(b"/")[0], ("none",))[0] != "directory"
        open_up(dst)


CHILD = "import sys, py_eacopy; py_eacopy.sync(sys.argv[1], sys.argv[2], mirror=True, hard_links=True)"


def change(root, chance, step):
    """Changes some things of a tree."""
    for number in range(60):
        path = os.path.join(root, "d%d" % (number % 7), "f%d" % number)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        what = chance.random()
        if what < 0.5:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            with open(path, "wb") as file:
                file.write(bytes([chance.randrange(256)]) * chance.choice([0, 10, 5000, 300_000]))
            os.utime(path, ns=(step * 10**9 + number, step * 10**9 + number))
        elif what < 0.6 and os.path.lexists(path):
            os.unlink(path)
        elif what < 0.7:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.symlink("f%d" % chance.randrange(60), path)
        elif what < 0.75 and not os.path.lexists(path + "-dir"):
            os.makedirs(path + "-dir/deep")
            with open(path + "-dir/deep/file", "wb") as file:
                file.write(b"deep")


def test_killed_anywhere_and_run_again(backend, tmp_path):
    chance = random.Random(20240 + KILLS)
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    os.mkdir(source)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    killed = 0
    for step in range(1, KILLS + 1):
        change(source, chance, step)
        old = comparable(target) if os.path.isdir(target) else {}
        new = comparable(source)
        child = subprocess.Popen([sys.executable, "-c", CHILD, source, target], env=environment)
        # It is killed as soon as so many of the changes are there.
        wanted, begun = chance.randrange(40), time.monotonic()
        while child.poll() is None and time.monotonic() - begun < 20:
            with contextlib.suppress(FileNotFoundError):  # what is unfinished goes again
                if sum(entry.stat(follow_symlinks=False).st_ino != 0 for entry in walk(target)) >= wanted:
                    break
        time.sleep(chance.random() * 0.01)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        for path, what in comparable(target).items() if os.path.isdir(target) else ():
            if what[0] == "file" and not os.path.basename(path).startswith(".eacopy-"):
                # Whole, old or new, never a mix.
                versions = [tree[path][2:] for tree in (old, new) if path in tree and tree[path][0] == "file"]
                assert what[2:] in versions, path
        report = py_eacopy.sync(source, target, mirror=True, hard_links=True)
        assert report.ok and comparable(target) == comparable(source)
    assert killed >= KILLS // 3


def walk(root):
    if os.path.isdir(root):
        for above, _, _ in os.walk(root):
            with os.scandir(above) as entries:
                yield from entries
