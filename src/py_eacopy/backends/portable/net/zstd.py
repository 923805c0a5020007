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


_Compress = Callable[[Any, int], bytes]
_Decompress = Callable[[Any, int], bytes]


def _from_standard(module: Any) -> Tuple[_Compress, _Decompress]:
    options = {module.DecompressionParameter.window_log_max: _WINDOW_LOG_MAXIMUM}

    def compress(data: Any, level: int) -> bytes:
        return bytes(module.compress(data, level))

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
    def compress(data: Any, level: int) -> bytes:
        return bytes(module.ZstdCompressor(level=level).compress(data))

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


def compress(data: Any, level: int) -> bytes:
    """One frame, which says its content's size."""
    assert _functions is not None
    return _functions[0](data, level)


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
