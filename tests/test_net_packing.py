"""Compression on the wire: what shrinks is packed, however little it shrinks, by every backend and both ways."""

import random

import pytest
from faults import trees
from net import serving


@pytest.fixture(scope="module")
def barely(tmp_path_factory):
    """Some 7 MB that shrink to 70 %: frames of them are large."""
    path = tmp_path_factory.mktemp("barely") / "tree"
    path.mkdir()
    generator = random.Random(70)

    def content(size):
        data = bytearray(generator.getrandbits(8 * size).to_bytes(size, "little"))
        data[::3] = bytes(len(data[::3]))
        return data

    for number in range(15):
        (path / f"small{number:02}").write_bytes(content(200_000 + 4000 * number))  # one message each
    (path / "large").write_bytes(content(3_500_000))
    return path


@pytest.mark.parametrize("level", [1, 3, 9, "auto"])
def test_what_shrinks_a_little_is_packed(pair, level, barely, tmp_path):
    serving.need(pair.client, "zstd")
    serving.need(pair.server, "zstd")
    share = tmp_path / "share"
    share.mkdir()
    size = sum(file.stat().st_size for file in barely.iterdir())
    with pair.serving(share) as served:
        pushed = served.push(barely, "share/copy", compression_level=level)
        pulled = served.pull("share/copy", tmp_path / "back", compression_level=level)
    assert trees.snapshot(share / "copy") == trees.snapshot(barely) == trees.snapshot(tmp_path / "back")
    for report, wire in ((pushed, pushed.bytes_sent), (pulled, pulled.bytes_received)):
        assert report.ok and report.files_copied == 16
        if level == "auto":
            assert wire < 1.01 * size  # it may find the wire too fast
        else:
            # Each frame found room in a message: nothing went as it is.
            assert report.compression_level == level and wire < 0.8 * size
