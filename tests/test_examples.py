"""Every program in examples/ runs to its end, says something, and leaves nothing behind."""

import os
import subprocess
import sys

import pytest

EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples")
NAMES = sorted(name for name in os.listdir(EXAMPLES) if name.endswith(".py"))
#: What they need beside this package.
NEEDED = {"async_trio.py": "trio"}


def test_all_are_there():
    assert {"basic.py", "class.py", "batch.py", "async_asyncio.py", "async_trio.py", "progress.py"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(backend, tmp_path, name):
    pytest.importorskip(NEEDED.get(name, "sys"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        [sys.executable, "-W", "error", os.path.join(EXAMPLES, name)],
        env=dict(environment, TMPDIR=str(tmp_path / "temporary")),
        cwd=str(tmp_path / "here"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    assert len(done.stdout.splitlines()) >= 2, done.stdout
    assert os.listdir(str(tmp_path / "temporary")) == os.listdir(str(tmp_path / "here")) == []
