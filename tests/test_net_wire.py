"""Both dialects as bytes, in the portable backend: every message against bytes written out by hand from the description
of its fields; and what is below the messages, packing and the limits of time."""

import hashlib
import os
import socket
import struct
import threading
import time
import zlib

import pytest

from py_eacopy.backends.portable.delta.signatures import signature_of
from py_eacopy.backends.portable.net import messages, wire, zstd
from py_eacopy.backends.portable.net.channel import Channel
from py_eacopy.backends.portable.net.connection import Connection, ConnectionEnded, PeerSilent
from py_eacopy.backends.portable.net.level import AUTO, LevelControl
from py_eacopy.backends.portable.net.messages import Entry, Error, Result
from py_eacopy.backends.portable.net.wire import ProtocolError

GUID = bytes.fromhex("cb9a82bbc098f44bb85cf59479baad6e")
#: 2024-01-02T03:04:05.1234567Z
TIME, TIME_BYTES = 133486382451234567, "07 97 5b 58 28 3d da 01"
NANOSECONDS, NANOSECONDS_BYTES = 1704164645123456789, "15 ff 5c 37 b7 68 a6 17"
BACKSLASH_NAME = "61 00 5c 00 fc 00 2e 00 74 00 78 00 74 00"  # a\ü.txt

V20 = [
    (
        wire.Version(20, 1, "v1.11"),
        "1e 00 00 00 00 00 00 00 14 00 00 00 01 00 00 00 76 00 31 00 2e 00 31 00 31 00 00 00 00 00",
    ),
    (
        wire.Version(20, wire.EXTENDED | wire.TOKEN_REQUIRED, ""),
        "14 00 00 00 00 00 00 00 14 00 00 00 00 00 03 00 00 00 00 00",
    ),
    (wire.Text(-2, "hi"), "14 00 00 00 01 00 00 00 fe ff ff ff 68 00 69 00 00 00 00 00"),
    (
        wire.WriteFile(wire.COMPRESSED, TIME, 0x0102030405, "a\\ü.txt"),
        "3e 00 00 00 02 00 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
        + TIME_BYTES
        + " 05 04 03 02 01 00 00 00 "
        + BACKSLASH_NAME
        + " 00 00 00 00 00 00 00 00",
    ),
    (
        wire.ReadFile(255, TIME, 3, "b"),
        "32 00 00 00 03 00 00 00 ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
        + TIME_BYTES
        + " 03 00 00 00 00 00 00 00 62 00 00 00 00 00 00 00 00 00",
    ),
    (wire.CreateDir("b"), "0e 00 00 00 04 00 00 00 62 00 00 00 00 00"),
    (wire.CreateDir(""), "0c 00 00 00 04 00 00 00 00 00 00 00"),
    (
        wire.Environment(1, 1, 20, GUID, "share\\dst1\\"),
        "3e 00 00 00 05 00 00 00 01 00 00 00 01 00 00 00 14 00 00 00 "
        "cb 9a 82 bb c0 98 f4 4b b8 5c f5 94 79 ba ad 6e "
        "73 00 68 00 61 00 72 00 65 00 5c 00 64 00 73 00 74 00 31 00 5c 00 00 00 00 00",
    ),
    (wire.DeleteFiles("b"), "0e 00 00 00 06 00 00 00 62 00 00 00 00 00"),
    (wire.FindFiles("*.*"), "12 00 00 00 07 00 00 00 2a 00 2e 00 2a 00 00 00 00 00"),
    (wire.Done(), "08 00 00 00 08 00 00 00"),
    (wire.RequestReport(), "08 00 00 00 09 00 00 00"),
    (wire.GetFileInfo("\U0001f600"), "10 00 00 00 0a 00 00 00 3d d8 00 de 00 00 00 00"),
]


@pytest.mark.parametrize("command, written", V20, ids=lambda value: type(value).__name__)
def test_v20_commands(command, written):
    written = bytes.fromhex(written)
    assert wire.encode(command) == written
    assert wire.decode(written) == command


@pytest.mark.parametrize("command, written", V20, ids=lambda value: type(value).__name__)
def test_v20_commands_without_their_padding_and_with_rubbish_in_it(command, written):
    written = bytes.fromhex(written)
    if isinstance(command, (wire.Done, wire.RequestReport)):
        return
    tail = 6 if isinstance(command, (wire.WriteFile, wire.ReadFile)) else 2
    tight = struct.pack("<I", len(written) - tail) + written[4:-tail]
    assert wire.decode(tight) == command
    assert wire.decode(written[:-tail] + b"\xcc" * tail) == command
    assert wire.decode(written[:5] + b"\xcc" * 3 + written[8:]) == command


@pytest.mark.parametrize(
    "written",
    [
        "07 00 00 00 08 00 00 00",  # smaller than its header
        "00 00 00 00 08 00 00 00",
        "01 00 08 00 04 00 00 00",  # larger than 512 KiB
        "08 00 00 00 0b 00 00 00",  # no such type
        "08 00 00 00 04 00 00 00",  # no string
        "0a 00 00 00 04 00 00 00 62 00",  # no zero at its end
        "0b 00 00 00 04 00 00 00 62 00 00",
        "10 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00",  # ends inside a field
        "0c 00 00 00 04 00 00 00 00 d8 00 00",  # half a surrogate pair
    ],
)
def test_v20_commands_that_cannot_be(written):
    with pytest.raises(ProtocolError):
        wire.decode(bytes.fromhex(written))


def test_a_zero_between_two_characters_ends_no_text():
    # U+0100 then U+0001: 00 01 01 00, and U+6100 U+0062: zeros that meet in the middle of nothing.
    assert wire.decode(wire.encode(wire.CreateDir("a\u0100\u0001b"))) == wire.CreateDir("a\u0100\u0001b")
    assert wire.decode(wire.encode(wire.CreateDir("\u6100\u0062"))) == wire.CreateDir("\u6100\u0062")


def test_v20_times():
    assert wire.filetime_of(0) == 116444736000000000
    assert wire.nanoseconds_of(116444736000000000) == 0
    assert wire.filetime_of(NANOSECONDS) == TIME
    assert wire.nanoseconds_of(TIME) == NANOSECONDS // 100 * 100
    assert wire.filetime_of(-1) == 116444735999999999
    assert wire.filetime_of(-(10**30)) == 0
    assert wire.filetime_of(10**30) == 2**64 - 1


def test_the_name_of_the_security_file():
    assert wire.proof_file_name(GUID) == ".fBB829ACB-98C0-4BF4-B85C-F59479BAAD6E"


def test_v20_paths():
    assert wire.wire_path("a/ü.txt".encode()) == "a\\ü.txt"
    assert wire.posix_path("a\\ü.txt") == "a/ü.txt".encode()
    for name in (b"a\\b", b"\xff"):
        with pytest.raises(UnicodeError):
            wire.wire_path(name)


def test_v20_listings():
    found = [wire.FoundFile(0x20, TIME, 5, "b"), wire.FoundFile(0x10, TIME, 0, "ü")]
    block = "20 00 00 00 " + TIME_BYTES + " 05 00 00 00 00 00 00 00 62 00 00 00"
    block += " 10 00 00 00 " + TIME_BYTES + " 00 00 00 00 00 00 00 00 fc 00 00 00"
    written = bytes.fromhex("30 00 00 00 " + block + " 00 00 00 00")
    assert wire.encode_listing(found) == written
    assert wire.decode_listing(bytes.fromhex(block)) == found
    assert found[1].is_directory and not found[0].is_directory
    # EACopy's server writes two zero words here, which its own client does not expect.
    assert wire.encode_listing([]) == bytes(4)
    with pytest.raises(ProtocolError):
        wire.decode_listing(bytes.fromhex(block)[:-1])


def test_a_long_v20_listing_comes_in_blocks_of_whole_entries():
    found = [wire.FoundFile(0x20, TIME, number, "%0200d" % number) for number in range(5000)]
    written = wire.encode_listing(found)
    read, offset = [], 0
    while True:
        (size,) = struct.unpack_from("<I", written, offset)
        offset += 4
        if not size:
            break
        assert size <= wire.LISTING_BLOCK
        read += wire.decode_listing(written[offset : offset + size])
        offset += size
    assert offset == len(written)
    assert read == found


def test_v20_answers():
    there = wire.FileInfo(TIME, 5, 0x20, 0)
    written = bytes.fromhex(
        "00 00 00 00 00 00 00 00 " + TIME_BYTES + " 05 00 00 00 00 00 00 00 20 00 00 00 00 00 00 00"
    )
    assert wire.encode_file_info(there) == written
    assert wire.decode_file_info(written) == there
    assert wire.encode_file_info(wire.FileInfo(0, 0, 0, 2)) == bytes(28) + b"\2\0\0\0"
    head = bytes.fromhex(TIME_BYTES + " 05 00 00 00 00 00 00 00")
    assert wire.encode_copy_head(TIME, 5) == head
    assert wire.decode_copy_head(head) == (TIME, 5)
    assert wire.encode_done(24300489) == bytes.fromhex("c9 cb 72 01 00 00 00 00")
    assert wire.encode_report("ü\n") == bytes.fromhex("02 00 00 00 fc 00 0a 00")
    assert wire.encode_report("\U0001f600")[:4] == b"\2\0\0\0"  # 16-bit characters are counted
    assert [int(answer) for answer in wire.WriteAnswer] == list(range(8))
    assert [int(answer) for answer in wire.ReadAnswer] == list(range(7))


@pytest.mark.parametrize(
    "name, pattern, matches",
    [
        ("a.txt", "*.*", True),
        ("a", "*.*", True),
        ("a.txt", "*", True),
        ("a.TXT", "*.txt", True),
        ("a.txt", "?.txt", True),
        ("ab.txt", "?.txt", False),
        ("a.txt", "a.txt", True),
        ("a.txt", "b.txt", False),
        ("abcbcd", "a*bcd", True),
        ("abcbce", "a*bcd", False),
        ("x", "", False),
    ],
)
def test_wildcards(name, pattern, matches):
    assert wire.matches_wildcard(name, pattern) is matches


# The extended dialect ------------------------------------------------------------------------------------------------

NONCE = bytes(range(32))
FAILURE = Error(14, 4, 28, 1000, 7, b"a\xff", "full")
FAILURE_BYTES = "0e 04 00 00 1c 00 00 00 e8 03 00 00 00 00 00 00 07 00 00 00 00 00 00 00 02 00 61 ff 04 00 66 75 6c 6c"
PLAIN = Entry(1, 4, 0o644, NANOSECONDS, -1, 0x0102030405, b"d/f")
PLAIN_BYTES = (
    "01 04 00 00 a4 01 00 00 " + NANOSECONDS_BYTES + " ff ff ff ff ff ff ff ff 05 04 03 02 01 00 00 00 03 00 64 2f 66"
)
LINKED = Entry(3, 0, 0xFFFFFFFF, 0, 0, 0, b"l", b"..")
LINKED_BYTES = "03 00 00 00 ff ff ff ff " + 24 * "00 " + "01 00 6c 02 00 2e 2e"
TAGGED = Entry(2, 1 | 2, 0o755, 0, 0, 0, b"", b"", ((b"user.x", b"\0\1"), (b"y", b"")))
TAGGED_BYTES = (
    "02 03 00 00 ed 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
    "02 00 06 00 75 73 65 72 2e 78 02 00 00 00 00 01 01 00 79 00 00 00 00"
)
KNOWN = PLAIN._replace(flags=64 | 128, reference=messages.Reference(258, GUID))
KNOWN_BYTES = PLAIN_BYTES.replace("01 04", "01 c0", 1) + " 02 01 00 00 00 00 00 00 " + GUID.hex()
#: The signature of b"hello" with the salt 5: its Adler-32, and what the MD5 of b"\5\0\0\0hello" begins with.
SIGNATURE = bytes.fromhex("15 02 2c 06") + hashlib.md5(b"\5\0\0\0hello").digest()[:8]
EXTENDED = [
    (messages.Hello(1, 15, NONCE), "30 00 00 00 20 00 00 00 01 00 00 00 0f 00 00 00 " + NONCE.hex()),
    (
        messages.Welcome(1, 3, NONCE, 4),
        "34 00 00 00 21 00 00 00 01 00 00 00 03 00 00 00 " + NONCE.hex() + " 04 00 00 00",
    ),
    (messages.Proof(NONCE), "28 00 00 00 22 00 00 00 " + NONCE.hex()),
    (messages.ProofAccepted(NONCE), "28 00 00 00 23 00 00 00 " + NONCE.hex()),
    (
        messages.Open(2, GUID, 3, b"s/d"),
        "25 00 00 00 24 00 00 00 02 00 00 00 " + GUID.hex() + " 03 00 00 00 03 00 73 2f 64",
    ),
    (messages.Opened(2), "0c 00 00 00 25 00 00 00 02 00 00 00"),
    (messages.Prove(GUID, b"/x"), "1c 00 00 00 26 00 00 00 " + GUID.hex() + " 02 00 2f 78"),
    (messages.Secret(GUID), "18 00 00 00 27 00 00 00 " + GUID.hex()),
    (
        messages.Offer(7, [PLAIN, LINKED, TAGGED]),
        "95 00 00 00 28 00 00 00 07 00 00 00 03 00 00 00 " + " ".join((PLAIN_BYTES, LINKED_BYTES, TAGGED_BYTES)),
    ),
    (
        messages.Results([Result(1, 0), Result(258, 255, FAILURE)]),
        "38 00 00 00 29 00 00 00 02 00 00 00 01 00 00 00 00 02 01 00 00 ff " + FAILURE_BYTES,
    ),
    (
        messages.Body(1, 0x3610A686, 1, NANOSECONDS, b"hello"),
        "21 00 00 00 2a 00 00 00 01 00 00 00 86 a6 10 36 01 00 00 00 " + NANOSECONDS_BYTES + " 68 65 6c 6c 6f",
    ),
    (
        messages.Begin(1, -1, 9),
        "20 00 00 00 2b 00 00 00 01 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff 09 00 00 00 00 00 00 00",
    ),
    (messages.Data(b"hello"), "0d 00 00 00 2c 00 00 00 68 65 6c 6c 6f"),
    (messages.Hole(1 << 32), "10 00 00 00 2d 00 00 00 00 00 00 00 01 00 00 00"),
    (messages.End(0x3610A686, 1), "10 00 00 00 2e 00 00 00 86 a6 10 36 01 00 00 00"),
    (messages.Abandon(3, FAILURE), "2e 00 00 00 2f 00 00 00 03 00 00 00 " + FAILURE_BYTES),
    (messages.Packed(5, 16, b"frame"), "11 00 00 00 30 05 00 00 10 00 00 00 66 72 61 6d 65"),
    (messages.Digest(3, GUID), "1c 00 00 00 31 00 00 00 03 00 00 00 " + GUID.hex()),
    (messages.List_(3, b"d"), "0f 00 00 00 32 00 00 00 03 00 00 00 01 00 64"),
    (messages.List_(1, b"d", 255), "0f 00 00 00 32 00 00 00 01 ff 00 00 01 00 64"),
    (messages.Opened(1, 258), "0c 00 00 00 25 00 00 00 01 00 02 01"),
    (messages.Entries([PLAIN]), "31 00 00 00 33 00 00 00 01 00 00 00 " + PLAIN_BYTES),
    (messages.Listed([FAILURE]), "2e 00 00 00 34 00 00 00 01 00 00 00 " + FAILURE_BYTES),
    (
        messages.Fetch(9, 255, [b"a", b""]),
        "19 00 00 00 35 00 00 00 09 00 00 00 02 00 00 00 ff 00 00 00 01 00 61 00 00",
    ),
    (messages.Goodbye(FAILURE), "2a 00 00 00 36 00 00 00 " + FAILURE_BYTES),
    (messages.Offer(7, [KNOWN]), "4d 00 00 00 28 00 00 00 07 00 00 00 01 00 00 00 " + KNOWN_BYTES),
    (
        messages.Results([Result(1, 6), Result(2, 7)]),
        "16 00 00 00 29 00 00 00 02 00 00 00 01 00 00 00 06 02 00 00 00 07",
    ),
    (
        messages.Signatures(3, 1024, (1 << 32) + 5, 5, 258, SIGNATURE),
        "2c 00 00 00 40 00 00 00 03 00 00 00 00 04 00 00 05 00 00 00 01 00 00 00 05 00 00 00 02 01 00 00 "
        + SIGNATURE.hex(),
    ),
    (messages.Reuse(1 << 32, 5), "18 00 00 00 41 00 00 00 00 00 00 00 01 00 00 00 05 00 00 00 00 00 00 00"),
    (messages.PatchData(b"frame"), "0d 00 00 00 42 00 00 00 66 72 61 6d 65"),
    (messages.FetchDelta(3, 255, b"d/f"), "15 00 00 00 43 00 00 00 03 00 00 00 ff 00 00 00 03 00 64 2f 66"),
    (
        messages.FetchPatch(3, 255, b"d/f", messages.Reference(5, GUID)),
        "2d 00 00 00 44 00 00 00 03 00 00 00 ff 00 00 00 05 00 00 00 00 00 00 00 " + GUID.hex() + "03 00 64 2f 66",
    ),
    (messages.UnknownReference(3), "0c 00 00 00 45 00 00 00 03 00 00 00"),
]


def test_every_extended_message_is_here():
    written = {bytes.fromhex(text)[4] for _, text in EXTENDED}
    assert written == {*range(messages.HELLO, messages.GOODBYE + 1), *range(64, 70)}


@pytest.mark.parametrize("message, written", EXTENDED, ids=lambda value: type(value).__name__)
def test_extended_messages(message, written):
    written = bytes.fromhex(written)
    assert messages.encode(message) == written
    size, type_, level = messages.decode_header(written)
    assert size == len(written)
    assert messages.decode(type_, level, written[8:]) == message


@pytest.mark.parametrize("message, written", EXTENDED, ids=lambda value: type(value).__name__)
def test_extended_messages_that_are_cut_off_or_too_long(message, written):
    payload = bytes.fromhex(written)[8:]
    type_ = bytes.fromhex(written)[4]
    takers = (messages.Body, messages.Data, messages.Packed, messages.PatchData)
    rest = isinstance(message, takers)  # takes all there is
    fixed = len(payload) - 5 if rest else len(payload)
    if isinstance(message, messages.Signatures):
        fixed -= 12  # none may be the rest of it
    for size in range(fixed):
        with pytest.raises(ProtocolError):
            messages.decode(type_, 0, payload[:size])
    if not rest:
        with pytest.raises(ProtocolError):
            messages.decode(type_, 0, payload + b"\0")


@pytest.mark.parametrize(
    "written",
    [
        "07 00 00 00 2c 00 00 00",
        "01 00 21 00 2c 00 00 00",  # one byte too large
        "08 00 00 00 1f 00 00 00",
        "08 00 00 00 37 00 00 00",
        "08 00 00 00 3f 00 00 00",
        "08 00 00 00 46 00 00 00",
    ],
)
def test_extended_headers_that_cannot_be(written):
    with pytest.raises(ProtocolError):
        messages.decode_header(bytes.fromhex(written))


def test_a_signature_as_it_is_written_down():
    assert signature_of(b"\5\0\0\0", b"hello") == SIGNATURE


def test_counts_that_are_not_there_are_not_waited_for():
    for type_ in (messages.OFFER, messages.RESULTS, messages.ENTRIES, messages.LISTED, messages.FETCH):
        payload = b"\xff" * 8 + bytes(40)
        with pytest.raises(ProtocolError):
            messages.decode(type_, 0, payload)


def test_entries_and_results_of_unknown_kind():
    entry = bytearray(messages.encode(messages.Offer(0, [PLAIN]))[8:])
    entry[8] = 4
    with pytest.raises(ProtocolError):
        messages.decode(messages.OFFER, 0, bytes(entry))
    with pytest.raises(ProtocolError):
        messages.decode(messages.RESULTS, 0, struct.pack("<IIB", 1, 0, 8))


def test_attributes_have_a_limit():
    entry = PLAIN._replace(attributes=((b"user.a", bytes(40_000)), (b"user.b", bytes(40_000))))
    with pytest.raises(ProtocolError):
        messages.decode(messages.OFFER, 0, messages.encode(messages.Offer(0, [entry]))[8:])


def test_what_is_too_long_is_not_made():
    with pytest.raises(ValueError):
        messages.encode(messages.Data(bytes(messages.MESSAGE_MAXIMUM - 7)))
    with pytest.raises(ValueError):
        messages.encode(messages.List_(0, bytes(65536)))
    assert len(messages.encode(messages.Data(bytes(messages.MESSAGE_MAXIMUM - 8)))) == 2_162_688


@pytest.mark.parametrize("path", [b"", b"a", b"a/b", b"...", b"a\\b", b"\xff", b" ", b"a" * 255])
def test_legal_paths(path):
    assert messages.is_legal_path(path)


@pytest.mark.parametrize(
    "path", [b"/", b"/a", b"a/", b"a//b", b".", b"..", b"a/..", b"a/../b", b"./a", b"a\0b", b"\0", b"a/" * 20000 + b"a"]
)
def test_paths_that_are_not_legal(path):
    assert not messages.is_legal_path(path)


# zstd ----------------------------------------------------------------------------------------------------------------

needs_zstd = pytest.mark.skipif(not zstd.AVAILABLE, reason="no zstd is installed")


@needs_zstd
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
def test_frames(size):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for frame in (zstd.compress(content, 3), zstd.store(content)):
        assert frame[:4] == b"\x28\xb5\x2f\xfd"
        assert zstd.decompress(frame, size) == content
        assert zstd.decompress(frame + frame, 2 * size) == 2 * content


@needs_zstd
def test_a_frame_made_by_hand():
    # Magic; single segment, content size in 4 bytes; 5 bytes; the last block, raw, of 5 bytes.
    frame = bytes.fromhex("28 b5 2f fd a0 05 00 00 00 29 00 00 68 65 6c 6c 6f")
    assert zstd.store(b"hello") == frame
    assert zstd.decompress(frame, 5) == b"hello"


@needs_zstd
def test_frames_that_cannot_be():
    content = os.urandom(100_000)
    frame = zstd.compress(content, 3)
    bomb = zstd.compress(bytes(100_000_000), 3)
    for wrong, limit in ((frame, 99_999), (frame[:-10], 100_000), (b"nonsense", 100), (bomb, 1 << 20)):
        with pytest.raises(zstd.FrameError):
            zstd.decompress(wrong, limit)


@needs_zstd
def test_high_levels_are_left_in_the_middle_of_a_frame():
    content = b"".join(b"%d " % (number * number % 9973) for number in range(150_000))
    for level in (3, 12, 19):
        assert zstd.decompress(zstd.compress(content, level), len(content)) == content
    looked = []

    def check():
        looked.append(1)
        if len(looked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zstd.compress(content, 19, check)


def test_the_level_adapts_to_the_slower_side():
    level = LevelControl(AUTO)
    if not zstd.AVAILABLE:
        assert level.is_off
        return
    assert level.next_level(1 << 20) == 3
    for _ in range(20):
        level.tell(compressing=0.001, waiting=0.1)
    assert level.next_level(1 << 20) == 12
    for _ in range(4 * 12):
        level.tell(compressing=0.1, waiting=0.0)
    # Not even the lowest is worth its time: it is left alone for 8 MiB.
    assert [level.next_level(1 << 20) for _ in range(8)] == [0] * 7 + [1]


@needs_zstd
def test_what_buffers_swallow_does_not_make_a_slow_wire_seem_fast():
    level = LevelControl(AUTO)
    for _ in range(3):
        level.tell(compressing=0.1, waiting=0.0)
    assert level.next_level(1 << 20) == 3
    # What is still on its way shows that compressing cost no time.
    for _ in range(4):
        level.tell(compressing=0.1, waiting=0.0, behind=True)
    assert level.next_level(1 << 20) == 7
    for _ in range(4 * 7):
        level.tell(compressing=0.1, waiting=0.0)
    assert level.next_level(1 << 20) == 0 and level.next_level(1 << 20, behind=True) == 1


@needs_zstd
def test_what_does_not_shrink_is_left_alone_for_longer_and_longer():
    level = LevelControl(5)
    rests = []
    for _ in range(4):
        assert level.next_level(1000) == 5
        assert not level.is_worth(1000, 999)
        rests.append(0)
        while level.next_level(1000) == 0:
            rests[-1] += 1
        level._frames_left = 0
    assert rests == [1, 2, 4, 8]
    assert level.is_worth(1000, 500)


# Connections ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_connection_does_not_wait_for_ever(pair):
    connection = Connection(pair[0], silence=0.2)
    begin = time.monotonic()
    with pytest.raises(PeerSilent):
        connection.read(1)
    with pytest.raises(PeerSilent):
        connection.send(bytes(10_000_000))
    assert 0.3 < time.monotonic() - begin < 5
    assert connection.waited > 0.1


def test_a_connection_ends_with_its_peer(pair):
    connection = Connection(pair[0], silence=5)
    pair[1].sendall(b"ab")
    pair[1].close()
    with pytest.raises(ConnectionEnded):
        connection.read(3)


def test_a_duplex_connection_takes_in_what_comes_while_it_sends(pair):
    connection = Connection(pair[0], silence=5, duplex=True)
    peer = Connection(pair[1], silence=5)
    answer = os.urandom(3_000_000)

    def reply():
        peer.send(answer)  # more than fits into the kernel, before it reads a byte
        peer.read(3_000_000)

    thread = threading.Thread(target=reply)
    thread.start()
    connection.send(bytes(3_000_000))
    assert connection.read(len(answer)) == answer
    thread.join()


def test_a_connection_asks_whether_to_go_on(pair):
    class Enough(Exception):
        pass

    def tick():
        if time.monotonic() > begin + 0.2:
            raise Enough

    begin = time.monotonic()
    with pytest.raises(Enough):
        Connection(pair[0], silence=30, tick=tick).read(1)
    assert time.monotonic() - begin < 1


def test_messages_one_byte_at_a_time(pair):
    channel = Channel(Connection(pair[0], silence=5))
    written = [message for message, _ in EXTENDED if not isinstance(message, messages.Packed)]
    whole = b"".join(map(messages.encode, written))

    def dribble():
        for position in range(len(whole)):
            pair[1].send(whole[position : position + 1])

    thread = threading.Thread(target=dribble)
    thread.start()
    assert [channel.receive() for _ in written] == written
    thread.join()
    assert not channel.is_ready()


def channels(pair, level):
    ours, theirs = (Channel(Connection(end, silence=5)) for end in pair)
    ours.level = LevelControl(level)
    theirs.may_unpack = True
    return ours, theirs


@needs_zstd
def test_small_messages_share_a_frame(pair):
    ours, theirs = channels(pair, 3)
    written = [messages.Body(number, zlib.crc32(b"x" * number), 0, 0, b"x" * number) for number in range(500)]
    for message in written:
        ours.put(message)
    assert ours.connection.bytes_sent == 0
    ours.flush()
    assert [theirs.receive() for _ in written] == written
    whole = sum(len(messages.encode(message)) for message in written)
    assert ours.connection.bytes_sent < whole / 5
    assert (ours.weight, ours.volume) == (theirs.weight, theirs.volume) == (3 * whole, whole)


@needs_zstd
def test_what_cannot_be_packed_goes_as_it_is(pair):
    ours, theirs = channels(pair, 3)
    content = os.urandom(10_000)
    ours.put(messages.Data(content))
    ours.flush()
    assert theirs.receive() == messages.Data(content)
    assert ours.connection.bytes_sent == 10_008
    assert ours.volume == 0


@needs_zstd
@pytest.mark.parametrize(
    "size, content",
    [
        (3_000_000, messages.encode(messages.Data(bytes(1000))) * 3000),  # more than may be
        (16, messages.encode(messages.Hole(1)) + b"x"),  # more than it says
        (17, messages.encode(messages.Hole(1))),  # less
        (12, messages.encode(messages.Hole(1))[:12]),  # half a message
        (4, b"\0\0\0\0"),  # half a header
        (0x28, messages.encode(messages.Proof(NONCE))),
        (0x30, messages.encode(messages.Hello(1, 0, NONCE))),
        (17, messages.encode(messages.Packed(1, 1, b"frame"))),
        (8, wire.encode(wire.Done())),
    ],
)
def test_packed_messages_that_cannot_be(pair, size, content):
    channel = Channel(Connection(pair[0], silence=5))
    channel.may_unpack = True
    frame = zstd.compress(content, 1)
    threading.Thread(target=pair[1].sendall, args=(messages.encode(messages.Packed(1, size, frame)),)).start()
    with pytest.raises(ProtocolError):
        channel.receive()


def test_nothing_is_unpacked_that_was_not_agreed_upon(pair):
    pair[1].sendall(messages.encode(messages.Packed(1, 5, zstd.store(b"hello"))))
    with pytest.raises(ProtocolError):
        Channel(Connection(pair[0], silence=5)).receive()
