"""A small v20 server, written from the description of the real ones, their bugs included: what clients are tried with.

It speaks the plain dialect alone, byte by byte from the description and with no code of the package; what a client gets
wrong stands in :attr:`PlainPeer.complaints`.
"""

import hashlib
import os
import shutil
import socket
import struct
import threading
import time
import uuid
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import end_accepting

VERSION, TEXT, WRITE_FILE, READ_FILE, CREATE_DIR, ENVIRONMENT = range(6)
DELETE_FILES, FIND_FILES, DONE, REQUEST_REPORT, GET_FILE_INFO = range(6, 11)
#: Where a command's string begins, and how many bytes it has beside the characters of the string.
STRINGS = {
    TEXT: (12, 16),
    WRITE_FILE: (40, 48),
    READ_FILE: (40, 48),
    CREATE_DIR: (8, 12),
    ENVIRONMENT: (36, 40),
    DELETE_FILES: (8, 12),
    FIND_FILES: (8, 12),
    GET_FILE_INFO: (8, 12),
}
COPY, COPY_DELTA, COPY_USING_SMB, LINK, ODX, WRITE_SKIP, WRITE_HASH, BAD_DESTINATION = range(8)
READ_SKIP, READ_HASH, SERVER_BUSY, BAD_SOURCE = range(3, 7)
EPOCH = 116_444_736_000_000_000
BLOCK = 2_064_384
ZSTD_MAGIC = bytes.fromhex("28b52ffd")


class HungUp(Exception):
    """The client, or by a test's wish the server, ended the conversation."""


def filetime(path: str) -> int:
    return os.stat(path).st_mtime_ns // 100 + EPOCH


class PlainPeer:
    """Serves one directory as the share "share", at a port of 127.0.0.1.

    Args:
        version: what it says that it speaks.
        security_file: clients have to prove themselves.
        double_end: ends the listing of an empty directory twice (bug Q2).
        drip: sends one byte at a time.
        close_after: hangs up when it has sent so many bytes in all; close_once: but not again.
        hashes: asks for the digest of each file.
        smb: the share is "external": copies go through it.
        busy: answers so many ReadFiles with ServerBusy.
        answer: asked for each WriteFile and ReadFile (type, path, the usual answer) for the answer to give instead.
        delta: what to send after the answer CopyDelta to a ReadFile.
        success: what to answer to a body.
        compress, decompress: zstd, if it is to be had: of a block; and of a block, with a limit.
        greeting: the bytes to send in place of Version.
        silent: says nothing at all.
        listing: what to answer to each FindFiles.
        stall_after: sends so many bytes of a body that is pulled, and then nothing more.

    Attributes:
        commands: (type, path) of each command, in order.
        write_types, levels: what WriteFiles and ReadFiles asked for; read_infos: time and size in ReadFiles.
        environments: (connection index, secret, directory).
        complaints: what clients did wrong.
        connections: how many there were.
    """

    def __init__(
        self,
        root: Any,
        *,
        version: int = 20,
        security_file: bool = False,
        double_end: bool = True,
        drip: bool = False,
        close_after: Optional[int] = None,
        close_once: bool = False,
        hashes: bool = False,
        smb: bool = False,
        busy: int = 0,
        answer: Optional[Callable[[int, str, int], int]] = None,
        delta: bytes = b"",
        success: int = 1,
        compress: Optional[Callable[[bytes, int], bytes]] = None,
        decompress: Optional[Callable[[bytes, int], bytes]] = None,
        greeting: Optional[bytes] = None,
        silent: bool = False,
        listing: Optional[bytes] = None,
        stall_after: Optional[int] = None,
    ) -> None:
        self.root = os.fspath(root)
        self.version, self.security_file, self.double_end, self.drip = version, security_file, double_end, drip
        self.close_after, self.close_once = close_after, close_once
        self.hashes, self.smb, self.busy = hashes, smb, busy
        self.answer, self.delta, self.success = answer, delta, success
        self.compress, self.decompress = compress, decompress
        self.greeting, self.silent, self.listing, self.stall_after = greeting, silent, listing, stall_after
        self.commands: List[Tuple[int, str]] = []
        self.write_types: List[int] = []
        self.levels: List[int] = []
        self.read_infos: List[Tuple[int, int]] = []
        self.environments: List[Tuple[int, bytes, str]] = []
        self.complaints: List[str] = []
        self.connections = 0
        self.sent = 0
        self.digests: List[bytes] = []
        self.smb_results: List[int] = []
        self.history: Dict[Tuple[str, int, int], str] = {}
        self.by_digest: Dict[bytes, str] = {}
        self.secrets: Dict[bytes, int] = {}
        self.lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: List[socket.socket] = []
        self._threads: List[threading.Thread] = []
        self._ends = False
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def __enter__(self) -> "PlainPeer":
        return self

    def __exit__(self, *reason: Any) -> None:
        self.stop()

    def stop(self) -> None:
        self._ends = True
        end_accepting(self._listener)
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._acceptor.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._ends:
                connection.close()
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            thread = threading.Thread(target=_Conversation(self, connection).run)
            self._threads.append(thread)
            thread.start()


class _Conversation:
    def __init__(self, peer: PlainPeer, connection: socket.socket) -> None:
        self.peer = peer
        self.connection = connection
        self.root: Optional[str] = None
        self.base = ""
        self.secret = b""
        self.level_sum = 0
        self.made_here: set = set()

    def run(self) -> None:
        try:
            self._converse()
        except (HungUp, OSError):
            pass
        except Exception as error:
            self.peer.complaints.append("the peer failed: %r" % error)
        finally:
            with self.peer.lock:
                if self.secret:
                    self.peer.secrets[self.secret] -= 1
            self.connection.close()

    # Bytes -------------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(min(count - len(data), 1 << 20))
            if not part:
                raise HungUp
            data += part
        return data

    def send(self, data: bytes) -> None:
        peer = self.peer
        if peer.close_after is not None:
            allowed = peer.close_after - peer.sent
            peer.sent += len(data)
            if len(data) > allowed:
                if peer.close_once:
                    peer.close_after = None
                self.connection.sendall(data[: max(allowed, 0)])
                raise HungUp
        if not peer.drip:
            self.connection.sendall(data)
            return
        for index in range(len(data)):
            self.connection.sendall(data[index : index + 1])
            if index < 64:
                time.sleep(0.0005)

    def nothing_comes_early(self, what: str) -> None:
        """Nothing but raw bodies may be sent before the answer to a command: a real server would lose it."""
        try:
            early = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if early:
            self.peer.complaints.append("bytes came before the answer to %s" % what)

    # Commands ----------------------------------------------------------------------------------------------------

    def _converse(self) -> None:
        peer = self.peer
        if peer.silent:
            self.read(1)
        info = "v1.11".encode("utf-16-le") + bytes(2)
        fixed = struct.pack("<IB3xII", 20 + 10, VERSION, peer.version, int(peer.security_file))
        self.send(peer.greeting if peer.greeting is not None else fixed + info + b"\xcd\xcd")
        while True:
            size, kind = struct.unpack("<IB3x", self.read(8))
            if kind not in STRINGS and kind not in (DONE, REQUEST_REPORT):
                peer.complaints.append("a command of type %d" % kind)
                raise HungUp
            if not 8 <= size <= 512 * 1024:
                peer.complaints.append("a command of %d bytes" % size)
                raise HungUp
            command = struct.pack("<IB3x", size, kind) + self.read(size - 8)
            text = self._text(kind, command)
            with peer.lock:
                peer.commands.append((kind, text))
            if kind == DONE:
                self.send(struct.pack("<Q", self.level_sum))
                self.connection.shutdown(socket.SHUT_WR)
                return
            if kind == REQUEST_REPORT:
                report = "a report\nof two lines ü\n".encode("utf-16-le")
                self.send(struct.pack("<I", len(report) // 2) + report)
                continue
            {
                WRITE_FILE: self._write_file,
                READ_FILE: self._read_file,
                CREATE_DIR: self._create_dir,
                ENVIRONMENT: self._environment,
                FIND_FILES: self._find_files,
                GET_FILE_INFO: self._get_file_info,
            }[kind](command, text)

    def _text(self, kind: int, command: bytes) -> str:
        if kind not in STRINGS:
            return ""
        offset, size = STRINGS[kind]
        end = offset
        while command[end : end + 2] != b"\0\0":
            if end + 2 > len(command):
                self.peer.complaints.append("a string without an end")
                raise HungUp
            end += 2
        text = command[offset:end].decode("utf-16-le", "surrogatepass")
        if len(command) != size + (end - offset):
            self.peer.complaints.append("a command of type %d has %d bytes" % (kind, len(command)))
        if "/" in text or (kind != ENVIRONMENT and text.startswith("\\")):
            self.peer.complaints.append("the path %r" % text)
        return text

    def _environment(self, command: bytes, directory: str) -> None:
        peer = self.peer
        index, major, minor, secret = struct.unpack_from("<III16s", command, 8)
        with peer.lock:
            peer.environments.append((index, secret, directory))
        if (major, minor) != (1, 20) or not directory.endswith("\\"):
            peer.complaints.append("an Environment of %d.%d, %r" % (major, minor, directory))
        share, _, rest = directory.partition("\\")
        if share != "share":
            raise HungUp
        root = os.path.join(peer.root, *rest.strip("\\").split("\\")) if rest.strip("\\") else peer.root
        if peer.security_file:
            if secret == bytes(16):
                secret = self._prove(root)
            elif not peer.secrets.get(secret):
                raise HungUp
        elif secret == bytes(16):
            peer.complaints.append("no secret was invented")
        with peer.lock:
            peer.secrets[secret] = peer.secrets.get(secret, 0) + 1
            self.secret = secret
        self.root = root

    def _prove(self, root: str) -> bytes:
        os.makedirs(root, exist_ok=True)
        guid, secret = uuid.uuid4(), os.urandom(16)
        path = os.path.join(root, ".f" + str(guid).upper())
        with open(path, "wb") as stream:
            stream.write(secret)
        self.nothing_comes_early("Environment")
        self.send(guid.bytes_le)
        proof = self.read(16)
        os.unlink(path)
        if proof != secret:
            raise HungUp
        return secret

    def _path(self, text: str) -> str:
        assert self.root is not None
        names = [name for name in text.split("\\") if name]
        if ".." in names:
            self.peer.complaints.append("the path %r" % text)
        return os.path.join(self.root, *names)

    def _create_dir(self, command: bytes, text: str) -> None:
        if self.root is None:
            return self.send(b"\1")
        path, missing = self._path(text), 0
        while not os.path.lexists(path):
            missing += 1
            path = os.path.dirname(path)
        try:
            os.makedirs(self._path(text), exist_ok=True)
        except OSError:
            return self.send(b"\0")
        self.made_here.add(self._path(text))
        self.send(bytes([2 + min(missing, 200)]))

    def _get_file_info(self, command: bytes, text: str) -> None:
        path = self._path(text)
        if not os.path.exists(path):
            missing = 2 if os.path.isdir(os.path.dirname(path)) else 3
            return self.send(struct.pack("<QQQII", 0, 0, 0, 0, missing))
        directory = os.path.isdir(path)
        size = 0 if directory else os.path.getsize(path)
        self.send(struct.pack("<QQQII", 0, filetime(path), size, 0x10 if directory else 0x20, 0))

    def _find_files(self, command: bytes, text: str) -> None:
        directory, _, wildcard = text.rpartition("\\")
        if wildcard not in ("*", "*.*"):
            self.peer.complaints.append("the pattern %r" % text)
        if self.peer.listing is not None:
            return self.send(self.peer.listing)
        path = self._path(directory)
        if not os.path.isdir(path):
            return self.send(b"\xff\xff\xff\xff")
        block = b""
        for name in sorted(os.listdir(path)):
            below = os.path.join(path, name)
            is_directory = os.path.isdir(below)
            size = 0 if is_directory else os.path.getsize(below)
            block += struct.pack("<IQQ", 0x10 if is_directory else 0x20, filetime(below), size)
            block += name.encode("utf-16-le") + bytes(2)
        if not block:
            return self.send(bytes(8 if self.peer.double_end else 4))
        self.send(struct.pack("<I", len(block)) + block + bytes(4))

    # Pushed files ------------------------------------------------------------------------------------------------

    def _write_file(self, command: bytes, text: str) -> None:
        peer = self.peer
        write_type = command[8]
        created, mtime, size = struct.unpack_from("<QQQ", command, 16)
        peer.write_types.append(write_type)
        if created or write_type not in (0, 1, 2):
            peer.complaints.append("a WriteFile of type %d, creation time %d" % (write_type, created))
        if write_type == 2:
            self.nothing_comes_early("WriteFile")
        if self.root is None:
            return self.send(bytes([BAD_DESTINATION]))
        path, key = self._path(text), (text, mtime, size)
        answer = self._decide_write(path, key, write_type)
        if peer.answer is not None:
            answer = peer.answer(WRITE_FILE, text, answer)
        digest = bytes(16)
        if peer.hashes and answer == COPY:
            self.send(bytes([WRITE_HASH]))
            digest = self.read(16)
            peer.digests.append(digest)
            known = peer.by_digest.get(digest)
            if known is not None and os.path.getsize(known) == size:
                if os.path.lexists(path):
                    os.unlink(path)
                os.link(known, path)
                answer = LINK
        self.send(bytes([answer]))
        if answer == WRITE_HASH:
            peer.digests.append(self.read(16))
            answer = COPY
            self.send(bytes([answer]))
        if answer == COPY:
            content = self._body(size, write_type)
            try:
                with open(path, "wb") as stream:
                    stream.write(content)
                time_ = (mtime - EPOCH) * 100
                os.utime(path, ns=(time_, time_))
            except OSError:
                return self.send(b"\0")
            if hashlib.md5(content).digest() != digest and peer.hashes:
                peer.complaints.append("a wrong digest")
            with peer.lock:
                peer.history[key] = path
                peer.by_digest[hashlib.md5(content).digest()] = path
            self.send(bytes([peer.success]))
        elif answer == COPY_USING_SMB:
            peer.smb_results.append(self.read(1)[0])
        elif answer in (LINK, WRITE_SKIP):
            with peer.lock:
                peer.history[key] = path

    def _decide_write(self, path: str, key: Tuple[str, int, int], write_type: int) -> int:
        peer = self.peer
        with peer.lock:
            known = peer.history.get(key)
        default = COPY_USING_SMB if peer.smb and write_type != 2 else COPY
        if known is not None and os.path.exists(known):
            if filetime(known) != key[1] or os.path.getsize(known) != key[2]:
                return default
            if known == path:
                return WRITE_SKIP
            try:
                if os.path.lexists(path):
                    os.unlink(path)
                os.link(known, path)
                return LINK
            except OSError:
                return default
        if os.path.isfile(path) and (filetime(path), os.path.getsize(path)) == key[1:]:
            return WRITE_SKIP
        return default

    def _body(self, size: int, write_type: int) -> bytes:
        if write_type != 2:
            return self.read(size)
        content = b""
        while len(content) < size:
            (length,) = struct.unpack("<I", self.read(4))
            block = self.read(length)
            if length > 8 << 20 or not block.startswith(ZSTD_MAGIC):
                self.peer.complaints.append("a block of %d bytes that begins %r" % (length, block[:4]))
                raise HungUp
            assert self.peer.decompress is not None
            content += self.peer.decompress(block, 8 << 20)
        if len(content) != size:
            self.peer.complaints.append("%d bytes too much" % (len(content) - size))
            self.read(1 << 30)  # a real one would wait for ever
        return content

    # Pulled files ------------------------------------------------------------------------------------------------

    def _read_file(self, command: bytes, text: str) -> None:
        peer = self.peer
        level = command[8]
        created, mtime, size = struct.unpack_from("<QQQ", command, 16)
        with peer.lock:
            peer.levels.append(level)
            peer.read_infos.append((mtime, size))
            busy = peer.busy > 0
            peer.busy -= busy
        if created or (level > 22 and level != 255):
            peer.complaints.append("a ReadFile of level %d, creation time %d" % (level, created))
        if busy:
            return self.send(bytes([SERVER_BUSY]))
        if self.root is None:
            return self.send(bytes([BAD_SOURCE]))
        path = self._path(text)
        if not os.path.isfile(path):
            return self.send(bytes([BAD_SOURCE]))
        now = filetime(path), os.path.getsize(path)
        answer = COPY_USING_SMB if peer.smb and level == 0 else COPY
        if level and mtime and peer.delta:
            answer = COPY_DELTA  # Q1: whatever the client has
        elif now == (mtime, size):
            answer = READ_SKIP
        if peer.answer is not None:
            answer = peer.answer(READ_FILE, text, answer)
        if peer.hashes and answer == COPY and size == now[1]:
            self.send(bytes([READ_HASH]))
            digest = self.read(16)
            peer.digests.append(digest)
            with open(path, "rb") as stream:
                if hashlib.md5(stream.read()).digest() == digest:
                    answer = READ_SKIP
        self.send(bytes([answer]))
        if answer == COPY:
            with open(path, "rb") as stream:
                self._send_body(struct.pack("<QQ", *now), stream.read(), level)
        elif answer == COPY_DELTA:
            self.send(struct.pack("<QQ", *now) + peer.delta)
        elif answer == COPY_USING_SMB:
            self.send(struct.pack("<Q", now[0]))

    def _send_body(self, head: bytes, content: bytes, level: int) -> None:
        if self.peer.stall_after is not None:
            self.send(head + content[: self.peer.stall_after])
            self.read(1)
        if not level:
            return self.send(head + content)
        self.send(head)
        level = 1 if level == 255 else level
        assert self.peer.compress is not None
        for begin in range(0, len(content), BLOCK):
            block = self.peer.compress(content[begin : begin + BLOCK], level)
            self.send(struct.pack("<I", len(block)) + block)
        self.level_sum += len(content) * level


def mirror(source: Any, target: Any) -> None:
    """Puts a copy of a tree where a peer serves it, with times that FILETIMEs can say."""
    shutil.copytree(os.fspath(source), os.fspath(target))
    for directory, _, names in os.walk(os.fspath(target)):
        for name in names:
            path = os.path.join(directory, name)
            time_ = os.stat(path).st_mtime_ns // 100 * 100
            os.utime(path, ns=(time_, time_))
