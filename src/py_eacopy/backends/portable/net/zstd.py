"""zstd, from whichever package has it here: the standard library (3.14), backports.zstd, or zstandard (3.8)."""

import importlib
import struct
from typing import Any, Callable, Optional, Tuple

LEVEL_MAXIMUM = 22
#: No frame may ask for more memory than this to be decoded: 2 to the power of.
_WINDOW_LOG_MAXIMUM = 27
_STORED_BLOCK = 128 * 1024


class FrameError(ValueError):
    """A frame that cannot be decoded, or not into what was announced."""


#: Up to this level a frame takes no longer than anybody may wait.
_QUICK = 9
_PIECE = 128 * 1024

_Compress = Callable[[Any, int, Callable[[], None]], bytes]
_Decompress = Callable[[Any, int], bytes]


def _in_pieces(compressor: Any, data: Any, check: Callable[[], None]) -> bytes:
    """So that nobody has to wait for the highest levels, which take a second for a frame."""
    parts = []
    with memoryview(data) as view:
        for begin in range(0, len(view), _PIECE):
            check()
            parts.append(compressor.compress(view[begin : begin + _PIECE]))
    parts.append(compressor.flush())
    return b"".join(parts)


def _from_standard(module: Any) -> Tuple[_Compress, _Decompress]:
    options = {module.DecompressionParameter.window_log_max: _WINDOW_LOG_MAXIMUM}

    def compress(data: Any, level: int, check: Callable[[], None]) -> bytes:
        if level <= _QUICK or len(data) <= _PIECE:
            return bytes(module.compress(data, level))
        compressor = module.ZstdCompressor(level=level)
        compressor.set_pledged_input_size(len(data))
        return _in_pieces(compressor, data, check)

    def decompress(data: Any, limit: int) -> bytes:
        result = b""
        rest = bytes(data)
        while rest:
            decompressor = module.ZstdDecompressor(options=options)
            try:
                # One byte more than may be, to see whether it would be more.
                part = decompressor.decompress(rest, limit - len(result) + 1)
            except module.ZstdError as error:
                raise FrameError(str(error)) from None
            result = result + part if result else part
            if len(result) > limit:
                raise FrameError("a frame of more than %d bytes" % limit)
            if not decompressor.eof:
                raise FrameError("a frame that is cut off")
            rest = decompressor.unused_data
        return result

    return compress, decompress


def _from_zstandard(module: Any) -> Tuple[_Compress, _Decompress]:
    def compress(data: Any, level: int, check: Callable[[], None]) -> bytes:
        compressor = module.ZstdCompressor(level=level)
        if level <= _QUICK or len(data) <= _PIECE:
            return bytes(compressor.compress(data))
        return _in_pieces(compressor.compressobj(size=len(data)), data, check)

    def decompress(data: Any, limit: int) -> bytes:
        decompressor = module.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG_MAXIMUM)
        try:
            if not len(data):
                return b""
            announced = module.get_frame_parameters(data).content_size
            result: bytes = decompressor.stream_reader(data, read_across_frames=True).read(limit + 1)
        except module.ZstdError as error:
            raise FrameError(str(error)) from None
        if len(result) > limit:
            raise FrameError("a frame of more than %d bytes" % limit)
        if announced != module.CONTENTSIZE_UNKNOWN and len(result) < announced:
            raise FrameError("a frame that is cut off")
        return result

    return compress, decompress


def _find() -> Optional[Tuple[_Compress, _Decompress]]:
    for name, make in (
        ("compression.zstd", _from_standard),
        ("backports.zstd", _from_standard),
        ("zstandard", _from_zstandard),
    ):
        try:
            return make(importlib.import_module(name))
        except ImportError:
            continue
    return None


_functions = _find()
AVAILABLE = _functions is not None


def compress(data: Any, level: int, check: Callable[[], None] = lambda: None) -> bytes:
    """One frame, which says its content's size.

    Args:
        check: called now and then where that takes long; may raise.
    """
    assert _functions is not None
    return _functions[0](data, level, check)


def store(data: bytes) -> bytes:
    """A frame that holds less than 4 GiB as they are: for who has to send frames, and cannot or may not compress."""
    parts = [b"\x28\xb5\x2f\xfd\xa0", struct.pack("<I", len(data))]
    for begin in range(0, len(data) or 1, _STORED_BLOCK):
        block = data[begin : begin + _STORED_BLOCK]
        last = begin + _STORED_BLOCK >= len(data)
        parts += (struct.pack("<I", len(block) << 3 | last)[:3], block)
    return b"".join(parts)


def decompress(data: Any, limit: int) -> bytes:
    """What one frame, or several back to back, decode to: at most `limit` bytes. Raises FrameError."""
    assert _functions is not None
    return _functions[1](data, limit)
