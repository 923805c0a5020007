"""zstd frames made with a prefix: RFC 8878 frames whose matches may reach back into a reference.

`zstd --patch-from=REFERENCE` makes and applies the same. The work is done by Python's own compression.zstd, by
backports.zstd, or by zstandard.
"""

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Callable, NamedTuple, Optional

MAGIC = 0xFD2FB528
#: Prefixes and windows of more than this are beyond what the format (and 2 GB of memory) can do.
WINDOW_LOG_MAXIMUM = 31
_SHORTEST_PREFIX = 8
_LONG_TO_INDEX = 1 << 20
_PATIENCE = 0.01  # seconds

Feed = Callable[[bytes], bytes]


class FrameHeader(NamedTuple):
    """What the header of a frame says.

    Attributes:
        content_size: of what it decodes to; None when it does not say.
        window_size: memory that decoding needs.
        has_checksum: it ends with one of the content.
        dictionary: the number of the dictionary that it needs; 0 for none, or a prefix.
    """

    content_size: Optional[int]
    window_size: int
    has_checksum: bool
    dictionary: int


def read_header(data: bytes) -> Optional[FrameHeader]:
    """The header at the start of a frame (18 bytes are always enough); None where there is none."""
    if len(data) < 5 or int.from_bytes(data[:4], "little") != MAGIC:
        return None
    descriptor = data[4]
    single_segment = bool(descriptor & 0x20)
    if descriptor & 0x08:  # reserved
        return None
    position, window = 5, 0
    if not single_segment:
        if len(data) <= position:
            return None
        exponent, mantissa = data[position] >> 3, data[position] & 7
        window = (1 << (10 + exponent)) * (8 + mantissa) // 8
        position += 1
    dictionary_size = (0, 1, 2, 4)[descriptor & 3]
    size_field = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    if len(data) < position + dictionary_size + size_field:
        return None
    dictionary = int.from_bytes(data[position : position + dictionary_size], "little")
    position += dictionary_size
    content: Optional[int] = None
    if size_field:
        content = int.from_bytes(data[position : position + size_field], "little") + (256 if size_field == 2 else 0)
    if single_segment:
        assert content is not None
        window = content
    return FrameHeader(content, window, bool(descriptor & 0x04), dictionary)


def window_log(size: int) -> int:
    """The logarithm of a window that holds `size` bytes."""
    return min(max(size - 1, 1).bit_length() + 1, WINDOW_LOG_MAXIMUM)


class Compressor:
    """Makes one frame.

    The prefix is indexed with the first content, which takes half a minute at the highest levels, and nothing
    interrupts it: where the caller is to stop it is left to end in a thread of its own.

    Args:
        prefix: the reference.
        size: of the content, exactly.
        level: 1 to 22.
        check: raises when the caller is to stop.
    """

    def __init__(self, prefix: bytes, size: int, level: int, check: Callable[[], None]) -> None:
        log = min(max(window_log(max(len(prefix), size)), 10), WINDOW_LOG_MAXIMUM)
        self._compress, self._finish = _compressor(prefix, size, level, log)
        self._check = check
        self._indexed = len(prefix) < _LONG_TO_INDEX

    def compress(self, content: bytes) -> bytes:
        return self._run(lambda: self._compress(content))

    def finish(self) -> bytes:
        return self._run(self._finish)

    def _run(self, call: Callable[[], bytes]) -> bytes:
        if self._indexed:
            return call()
        self._indexed = True
        future: Future[bytes] = Future()
        threading.Thread(target=_settle, args=(future, call), daemon=True, name="eacopy-zstd").start()
        while True:
            try:
                return future.result(_PATIENCE)
            except FutureTimeoutError:
                self._check()


def _settle(future: "Future[bytes]", call: Callable[[], bytes]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # is raised where the result is asked for
        future.set_exception(error)


class Decompressor:
    """Decodes one frame.

    Attributes:
        at_end: the frame is complete.
        unused: what came after its end.
        error: the class of the exceptions about damaged data.
    """

    def __init__(self, prefix: bytes, most_window: int) -> None:
        self._inner, self._decompress, self.error = _decompressor(prefix, window_log(most_window))

    def decompress(self, data: bytes, most: int) -> bytes:
        """At most `most` bytes (or as many as the module gives); call with b"" for more of the same."""
        result: bytes = self._decompress(data, most)
        return result

    @property
    def at_end(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return bool(getattr(self._inner, "needs_input", True))

    @property
    def unused(self) -> bytes:
        data: bytes = self._inner.unused_data
        return data


def available() -> bool:
    """Whether there is a module for it."""
    return _standard() is not None or _third_party() is not None


def _standard() -> Optional[Any]:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]
        except ImportError:
            return None
    module: Any = zstd
    return module


def _third_party() -> Optional[Any]:
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    module: Any = zstandard
    return module


def _compressor(prefix: bytes, size: int, level: int, log: int) -> Any:
    zstd = _standard()
    if zstd is not None:
        parameter = zstd.CompressionParameter
        options = {
            parameter.compression_level: level,
            parameter.window_log: log,
            parameter.enable_long_distance_matching: 1,
            parameter.checksum_flag: 1,
            parameter.content_size_flag: 1,
        }
        reference = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= _SHORTEST_PREFIX else None
        compressor = zstd.ZstdCompressor(options=options, zstd_dict=reference)
        compressor.set_pledged_input_size(size)
        return compressor.compress, compressor.flush
    zstandard = _third_party()
    assert zstandard is not None
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, window_log=log, enable_ldm=True, write_checksum=1, write_content_size=1, write_dict_id=0
    )
    dictionary = None
    if len(prefix) >= _SHORTEST_PREFIX:
        dictionary = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stream = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary).compressobj(size=size)
    return stream.compress, stream.flush


def _decompressor(prefix: bytes, log: int) -> Any:
    zstd = _standard()
    if zstd is not None:
        reference = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= _SHORTEST_PREFIX else None
        options = {zstd.DecompressionParameter.window_log_max: max(log, 10)}
        decompressor = zstd.ZstdDecompressor(zstd_dict=reference, options=options)
        return decompressor, decompressor.decompress, zstd.ZstdError
    zstandard = _third_party()
    assert zstandard is not None
    dictionary = None
    if len(prefix) >= _SHORTEST_PREFIX:
        dictionary = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    opened = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << max(log, 10))
    stream = opened.decompressobj()
    return stream, lambda data, most: stream.decompress(data), zstandard.ZstdError
