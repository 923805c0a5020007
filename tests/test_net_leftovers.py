"""What a killed copy left behind goes with the next pull, and what is alive is left alone."""

import contextlib

import pytest

fcntl = pytest.importorskip("fcntl")

DEAD, ALIVE = ".eacopy-0123456789abcdef.tmp", ".eacopy-fedcba9876543210.tmp"


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share" / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "share" / "tree" / "inner" / "file").write_bytes(b"content")
    return tmp_path / "share"


def leave(directory, name):
    (directory / name).write_bytes(b"half of a file")
    return directory / name


def test_a_pull_removes_what_dead_ones_left(pair, share, tmp_path):
    copy = tmp_path / "copy"
    (copy / "inner").mkdir(parents=True)
    dead = [leave(copy, DEAD), leave(copy / "inner", DEAD)]
    alive = [leave(copy, ALIVE), leave(copy / "inner", ALIVE)]
    similar = leave(copy, ".eacopy-0123456789ABCDEF.tmp")
    with contextlib.ExitStack() as stack, pair.serving(share) as served:
        files = [stack.enter_context(open(path, "rb")) for path in alive]
        for file in files:
            fcntl.flock(file, fcntl.LOCK_EX)
        assert served.pull("share/tree", copy).ok
        assert not any(path.exists() for path in dead) and all(path.exists() for path in alive)
        files[1].close()
        (copy / "inner" / "file").unlink()
        # A single file clears up where it goes to.
        assert served.pull("share/tree/inner/file", copy / "inner" / "file").ok
        assert alive[0].exists() and not alive[1].exists()
    assert similar.exists() and (copy / "inner" / "file").read_bytes() == b"content"
