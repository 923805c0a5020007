"""The server's side of one connection that speaks EACopy's own protocol, version 20."""

import errno
import hashlib
import os
import stat
import struct
from time import monotonic
from typing import Iterator, List, NamedTuple, Optional

from ...._errors import Operation
from .. import at, system
from ..delta.zstd_prefix import Compressor
from . import wire, zstd
from .connection import Buffer, Connection, ConnectionEnded
from .level import AUTO, LevelControl
from .messages import DIGEST_SIZE, SECRET_SIZE, Reference
from .older_version import PATCH_LEVEL, PATCHED_MAXIMUM, WORTH_DELTA
from .open_directories import OpenDirectory, is_regular, look
from .placing import Answer, Placer, Wanted
from .security_file import NO_SECRET, SecurityFile
from .service import DEBUG, INFO, WARNING, Service
from .share import Place, is_possible_path, split
from .store import NewMetadata, TemporaryFile, is_temporary_name, remove_contents
from .wire import ProtocolError, ReadAnswer, WriteAnswer

_PIECE = 256 * 1024
_OK, _FAILED = b"\1", b"\0"
_DYNAMIC = 255
_ZSTD_CODEC = 0
#: Win32's number for what may not be looked at.
_ACCESS_DENIED = 5
_DIRECTORIES_MADE_MAXIMUM = 200


class _Refused(Exception):
    """The connection is closed without a word: version 20 has none for it."""


class _File(NamedTuple):
    """A path of a command: the directory it is in, and its name there."""

    directory: OpenDirectory
    name: bytes


class PlainSession:
    """One connection, from the client's first command on."""

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service = service
        self._options = service.options
        self._connection = connection
        self._monitor = service.monitor()
        self._directories = service.open_directories()
        self._placer = Placer(service, self._directories, self._monitor)
        self._place: Optional[Place] = None
        self._secret: Optional[bytes] = None
        self._level_sum = 0

    def run(self, command: wire.Bytes) -> None:
        """Talks until one side ends it. Raises OSError when the network does."""
        try:
            while self._handle(wire.decode(command)):
                command = self._next_command()
        except (_Refused, ConnectionEnded):
            pass
        finally:
            if self._secret is not None:
                self._service.secrets.leave(self._secret)
            self._directories.close()
            self._directories.forget_made()

    def _next_command(self) -> wire.Bytes:
        connection = self._connection
        connection.await_bytes(1, self._options.idle_timeout)
        header = connection.read(wire.HEADER_SIZE)
        return header + connection.read(wire.decode_header(header)[0] - wire.HEADER_SIZE)

    def _handle(self, command: wire.AnyCommand) -> bool:
        """Does what a command asks for. False: the client has nothing more to say."""
        self._directories.look_again()
        send = self._connection.send
        if isinstance(command, wire.WriteFile):
            self._write_file(command)
        elif isinstance(command, wire.ReadFile):
            self._read_file(command)
        elif isinstance(command, wire.CreateDir):
            send(bytes((self._create_dir(command.path),)))
        elif isinstance(command, wire.FindFiles):
            found = self._find_files(command.pattern)
            send(struct.pack("<I", wire.SEARCH_FAILED) if found is None else wire.encode_listing(found))
        elif isinstance(command, wire.GetFileInfo):
            send(wire.encode_file_info(self._file_info(command.path)))
        elif isinstance(command, wire.Environment):
            self._environment(command)
        elif isinstance(command, wire.DeleteFiles):
            send(bytes((self._delete_files(command.path),)))
        elif isinstance(command, wire.RequestReport):
            send(wire.encode_report(self._service.report()))
        elif isinstance(command, wire.Text):
            self._service.log(DEBUG, "a client says: %r" % command.text[:1000])
        elif isinstance(command, wire.Done):
            send(wire.encode_done(self._level_sum))
            return False
        else:
            raise ProtocolError("a %s from a client" % type(command).__name__)
        return True

    # Set-up ----------------------------------------------------------------------------------------------------

    def _environment(self, command: wire.Environment) -> None:
        if self._place is not None:
            raise ProtocolError("a second Environment")
        try:
            place = self._service.shares.find(self._asked_directory(command.directory))
            if self._service.wants_security_file:
                self._secret = self._prove(command.secret, place)
        except (OSError, UnicodeError) as error:
            self._service.log(INFO, "a client was refused %r: %s" % (command.directory, error))
            self._service.statistics.count("errors")
            raise _Refused from None
        self._place = place
        if self._service.shares.whole_file_system:
            self._service.sweep_later(place)

    def _asked_directory(self, directory: str) -> bytes:
        """A netDirectory in the form of a path: "share/dir", or absolute."""
        if directory.startswith("\\\\"):
            # The whole UNC path, server and all, as a client says that was told another address.
            directory = directory.lstrip("\\").partition("\\")[2]
        names = [name for name in wire.posix_path(directory).split(b"/") if name]
        path = b"/".join(names)
        return b"/" + path if directory.startswith(("\\", "/")) and not system.WINDOWS else path

    def _prove(self, told: bytes, place: Place) -> bytes:
        if told != NO_SECRET:
            if not self._service.secrets.join(told, place):
                raise PermissionError(errno.EACCES, "the secret is not known, or for another directory")
            return told
        directory, made = self._directories.open_counting(place.share, place.path, make=True)
        proved = False
        try:
            file = SecurityFile(directory, self._monitor)
            del directory
            self._service.proof_names.add(file.name)
            try:
                self._connection.send(file.guid)
                answer = bytes(self._connection.read(SECRET_SIZE))
            finally:
                file.remove()
                self._service.proof_names.discard(file.name)
            proved = file.is_proved_by(answer)
            if not proved:
                raise PermissionError(errno.EACCES, "the security file was not read")
            self._service.secrets.add(file.secret, place)
            return file.secret
        finally:
            if not proved:
                self._directories.remove(place.share, made)

    # Pushes ----------------------------------------------------------------------------------------------------

    def _write_file(self, command: wire.WriteFile) -> None:
        compressed = command.write_type == wire.COMPRESSED
        if command.write_type not in (wire.TRANSMIT_FILE, wire.SEND, wire.COMPRESSED):
            raise ProtocolError("a file sent in the unknown way %d" % command.write_type)
        send = self._connection.send
        if self._place is None or (compressed and not zstd.AVAILABLE):
            send(bytes((WriteAnswer.BAD_DESTINATION,)))
            return
        wanted: Optional[Wanted] = None
        answer = Answer.SEND
        try:
            path = _checked_path(command.path)
        except ValueError:
            self._service.statistics.count("errors")
            send(bytes((WriteAnswer.BAD_DESTINATION,)))
            return
        try:
            self._monitor.operation = Operation.OPEN_DESTINATION
            wanted = self._wanted(command, path)
            answer = self._placer.place(wanted)
            if answer is Answer.SEND_DIGEST:
                send(bytes((WriteAnswer.HASH,)))
                digest = bytes(self._connection.read(DIGEST_SIZE))
                answer = self._placer.place_by_digest(wanted, digest)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            # There is only one way to say so: after the content.
            self._log_failure(command, error)
            wanted = None
        if answer is Answer.LINKED:
            send(bytes((WriteAnswer.LINK,)))
        elif answer is Answer.SKIPPED:
            send(bytes((WriteAnswer.SKIP,)))
        else:
            send(bytes((WriteAnswer.COPY,)))
            stored = self._store(wanted, command, compressed)
            if not stored:
                self._service.statistics.count("errors")
            send(_OK if stored else _FAILED)

    def _wanted(self, command: wire.WriteFile, path: bytes) -> Wanted:
        directory, name = self._locate(path)
        if not name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        time = wire.nanoseconds_of(command.time)
        metadata = NewMetadata(mtime=time, atime=time)
        key = self._placer.key_of(path)
        return Wanted(directory, name, key, time, command.size, metadata, exact=False, compares_attributes=False)

    def _store(self, wanted: Optional[Wanted], command: wire.WriteFile, compressed: bool) -> bool:
        """Takes the content from the wire, to its end in any case. Says whether the file is in its place."""
        pieces: Iterator[Buffer] = (
            self._compressed_pieces(command.size) if compressed else self._raw_pieces(command.size)
        )
        file: Optional[TemporaryFile] = None
        digest = hashlib.md5()
        try:
            if wanted is not None:
                try:
                    file = TemporaryFile(wanted.directory, self._monitor, 0o666)
                except OSError as error:
                    self._log_failure(command, error)
            for piece in pieces:
                if file is None:
                    continue
                try:
                    file.write(piece)
                except OSError as error:
                    self._log_failure(command, error)
                    file.discard()
                    file = None
                if self._options.use_hash:
                    digest.update(piece)
            if file is None or wanted is None:
                return False
            try:
                metadata = wanted.metadata
                there = look(wanted.directory, wanted.name)
                if is_regular(there) and there is not None:
                    metadata = metadata._replace(mode=stat.S_IMODE(there.st_mode))  # as overwriting would
                file.finish(wanted.name, metadata)
            except OSError as error:
                self._log_failure(command, error)
                return False
            self._service.statistics.count("files_received")
            self._placer.remember(wanted, digest.digest() if self._options.use_hash else b"")
            return True
        finally:
            if file is not None:
                file.discard()

    def _log_failure(self, command: wire.WriteFile, error: OSError) -> None:
        self._service.log(WARNING, "cannot store %r: %s" % (command.path, error))

    def _raw_pieces(self, size: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(size, _PIECE)))
        while size:
            piece = buffer[: min(size, _PIECE)]
            self._connection.read_into(piece)
            size -= len(piece)
            yield piece

    def _compressed_pieces(self, size: int) -> Iterator[bytes]:
        while size:
            (packed_size,) = struct.unpack("<I", self._connection.read(4))
            if packed_size > wire.BLOCK_MAXIMUM:
                raise ProtocolError("a compressed block of %d bytes" % packed_size)
            block = self._connection.read(packed_size)
            try:
                piece = zstd.decompress(block, min(size, wire.BLOCK_MAXIMUM))
            except zstd.FrameError as error:
                raise ProtocolError("a compressed block that cannot be unpacked: %s" % error) from None
            size -= len(piece)
            yield piece

    # Pulls -----------------------------------------------------------------------------------------------------

    def _read_file(self, command: wire.ReadFile) -> None:
        send = self._connection.send
        descriptor = self._open_source(command.path)
        if descriptor < 0:
            send(bytes((ReadAnswer.BAD_SOURCE,)))
            return
        try:
            info = os.fstat(descriptor)
            time = wire.filetime_of(info.st_mtime_ns)
            if (time, info.st_size) == (command.time, command.size):
                self._skip(info)
                return
            if self._asks_back(descriptor, info, command):
                return
            send(bytes((ReadAnswer.COPY,)) + wire.encode_copy_head(time, info.st_size))
            if command.level:
                self._send_compressed(descriptor, info.st_size, command.level)
            else:
                for piece in self._pieces_of(descriptor, info.st_size, _PIECE):
                    send(piece)
            self._service.statistics.count("files_sent")
        finally:
            system.close_quietly(descriptor)

    def _open_source(self, path: str) -> int:
        """Opens a regular file; -1 for anything else."""
        if self._place is None:
            return -1
        try:
            directory, name = self._locate(_checked_path(path))
            flags = at.READ_FLAGS | at.O_NOFOLLOW
            descriptor = at.open(name or b".", flags, dir_fd=directory.descriptor)
        except (OSError, ValueError):
            return -1
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        system.close_quietly(descriptor)
        return -1

    def _skip(self, info: os.stat_result) -> None:
        self._connection.send(bytes((ReadAnswer.SKIP,)))
        self._service.statistics.count_file("skipped", info.st_size)

    def _asks_back(self, descriptor: int, info: os.stat_result, command: wire.ReadFile) -> bool:
        """Asks the client for the digest of its file, if that may be the same, or a delta be made of it.

        True: that was enough, and the file need not be sent whole.
        """
        may_be_same = self._options.use_hash and command.size == info.st_size and bool(command.time)
        may_be_delta = self._may_be_delta(info, command)
        if not may_be_same and not may_be_delta:
            return False
        own = hashlib.md5()
        if may_be_same:
            for piece in self._pieces_of(descriptor, info.st_size, _PIECE):
                own.update(piece)
        self._connection.send(bytes((ReadAnswer.HASH,)))
        digest = bytes(self._connection.read(DIGEST_SIZE))
        if may_be_same and digest == own.digest():
            self._skip(info)
            return True
        return may_be_delta and self._send_delta(descriptor, info, command, Reference(command.size, digest))

    def _may_be_delta(self, info: os.stat_result, command: wire.ReadFile) -> bool:
        """Whether a file of that name and size was here once."""
        if not (command.level and command.time and command.size and info.st_size >= WORTH_DELTA):
            return False
        if not (self._options.delta and self._options.compression and zstd.AVAILABLE and self._place is not None):
            return False
        if max(info.st_size, command.size) > PATCHED_MAXIMUM:
            return False
        return self._placer.knows(self._place.share, split(_checked_path(command.path))[1], command.size)

    def _send_delta(self, descriptor: int, info: os.stat_result, command: wire.ReadFile, theirs: Reference) -> bool:
        """Sends what differs from the client's file. False: that is not known here.

        Real servers take for it whatever is at its path now. Here it is the one whose MD5 the client has just told, to
        its last byte, and the frame has a checksum.
        """
        assert self._place is not None
        older = self._placer.open_reference(self._place.share, split(_checked_path(command.path))[1], theirs)
        if older is None:
            return False
        try:
            prefix = older.read_exactly(theirs)
        finally:
            older.close()
        if prefix is None:
            return False
        send = self._connection.send
        level = PATCH_LEVEL if command.level == _DYNAMIC else min(command.level, zstd.LEVEL_MAXIMUM)
        compressor = Compressor(prefix, info.st_size, level, self._monitor.check)
        send(bytes((ReadAnswer.COPY_DELTA,)) + wire.encode_copy_head(wire.filetime_of(info.st_mtime_ns), info.st_size))
        send(bytes((_ZSTD_CODEC,)))
        for piece in self._pieces_of(descriptor, info.st_size, _PIECE):
            self._send_block(compressor.compress(piece))
        self._send_block(compressor.finish())
        send(bytes(4))
        self._service.statistics.count("files_sent")
        return True

    def _send_block(self, block: bytes) -> None:
        if block:
            self._connection.send(struct.pack("<I", len(block)) + block)

    def _pieces_of(self, descriptor: int, size: int, piece_size: int) -> Iterator[bytes]:
        """The file's content. Raises _Refused when it cannot be read, because there is no word for that any more."""
        offset = 0
        while offset < size:
            try:
                self._monitor.check()
                piece = at.pread(descriptor, min(piece_size, size - offset), offset)
            except OSError:
                piece = b""
            if not piece:
                self._service.statistics.count("errors")
                raise _Refused
            offset += len(piece)
            yield piece

    def _send_compressed(self, descriptor: int, size: int, asked_level: int) -> None:
        level = LevelControl(AUTO if asked_level == _DYNAMIC else min(asked_level, zstd.LEVEL_MAXIMUM))
        may_compress = zstd.AVAILABLE and self._options.compression
        waited = self._connection.waited
        for piece in self._pieces_of(descriptor, size, wire.BLOCK_SIZE):
            number = level.next_level(len(piece)) if may_compress else 0
            # Every block has to be a frame, also where compressing is not worth its time.
            start = monotonic()
            frame = zstd.compress(piece, number, self._connection.check) if number else zstd.store(piece)
            if number:
                level.tell(monotonic() - start, self._connection.waited - waited)
                waited = self._connection.waited
                self._level_sum += number * len(piece)
            self._connection.send(struct.pack("<I", len(frame)))
            self._connection.send(frame)

    # Directories -----------------------------------------------------------------------------------------------

    def _create_dir(self, path: str) -> int:
        if self._place is None:
            return 1
        try:
            inside = self._place.inside(_checked_path(path))
            _, made = self._directories.open_counting(self._place.share, inside, make=True)
        except (OSError, ValueError) as error:
            self._service.log(DEBUG, "cannot make the directory %r: %s" % (path, error))
            return 0
        return 2 + min(len(made), _DIRECTORIES_MADE_MAXIMUM)

    def _delete_files(self, path: str) -> int:
        if self._place is None:
            return 2
        try:
            inside = self._place.inside(_checked_path(path))
            self._directories.close()  # not everywhere can what is open be removed
            remove_contents(self._directories.open(self._place.share, inside), self._monitor)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            self._service.log(WARNING, "cannot remove what is in %r: %s" % (path, error))
            return 1
        finally:
            self._directories.close()  # some of those that are open are gone
        return 0

    def _find_files(self, pattern: str) -> Optional[List[wire.FoundFile]]:
        """What matches; None where there is nothing to search in."""
        if self._place is None:
            return None
        where, _, wildcard = pattern.rpartition("\\")
        try:
            inside = self._place.inside(_checked_path(where))
            listed = self._directories.open(self._place.share, inside).list()
        except (OSError, ValueError):
            return None
        found = []
        size = 0
        for name, info in listed:
            entry = self._found(name, info)
            if entry is not None and wire.matches_wildcard(entry.name, wildcard):
                found.append(entry)
                size += 22 + 2 * len(entry.name)
        if size > wire.LISTING_MAXIMUM:
            self._service.log(WARNING, "the listing of %r is too large for version 20 of the protocol" % pattern)
            raise _Refused
        return found if found or wildcard in ("*", "*.*") else None

    def _found(self, name: bytes, info: os.stat_result) -> Optional[wire.FoundFile]:
        """None for what this protocol cannot carry."""
        if is_temporary_name(name) or name in self._service.proof_names:
            return None
        attributes = _attributes_of(info)
        try:
            text = wire.wire_path(name)
        except UnicodeError:
            return None
        if attributes is None:
            return None
        size = 0 if attributes & wire.DIRECTORY_ATTRIBUTE else info.st_size
        return wire.FoundFile(attributes, wire.filetime_of(info.st_mtime_ns), size, text)

    def _file_info(self, path: str) -> wire.FileInfo:
        if self._place is None:
            return wire.FileInfo(0, 0, 0, wire.PATH_NOT_FOUND)
        try:
            directory, name = self._locate(_checked_path(path))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return wire.FileInfo(0, 0, 0, wire.PATH_NOT_FOUND)
        except OSError:
            return wire.FileInfo(0, 0, 0, _ACCESS_DENIED)
        try:
            info = look(directory, name) if name else os.fstat(directory.descriptor)
        except OSError:
            return wire.FileInfo(0, 0, 0, _ACCESS_DENIED)
        attributes = None if info is None else _attributes_of(info)
        if info is None or attributes is None:
            return wire.FileInfo(0, 0, 0, wire.FILE_NOT_FOUND)
        size = 0 if attributes & wire.DIRECTORY_ATTRIBUTE else info.st_size
        return wire.FileInfo(wire.filetime_of(info.st_mtime_ns), size, attributes, 0)

    def _locate(self, path: bytes) -> _File:
        """Opens the directory that a path is in; for the session's own directory, itself, the name is empty."""
        assert self._place is not None
        if not path:
            return _File(self._directories.open(self._place.share, self._place.path), b"")
        parent, name = split(self._place.inside(path))
        return _File(self._directories.open(self._place.share, parent), name)


def _checked_path(path: str) -> bytes:
    """A command's path with "/" between names. Raises ValueError for what leads out, or to the server's own files."""
    checked = wire.posix_path(path)
    if checked.endswith(b"/"):
        checked = checked[:-1]
    if not is_possible_path(checked) or any(map(is_temporary_name, checked.split(b"/"))):
        raise ValueError("the path is not legal")
    return checked


def _attributes_of(info: os.stat_result) -> Optional[int]:
    """Windows' attributes; None for what is neither a file nor a directory."""
    if stat.S_ISDIR(info.st_mode):
        return wire.DIRECTORY_ATTRIBUTE
    if stat.S_ISREG(info.st_mode):
        return wire.ARCHIVE_ATTRIBUTE if info.st_mode & 0o222 else wire.ARCHIVE_ATTRIBUTE | wire.READ_ONLY_ATTRIBUTE
    return None
