"""Records of a ``.wandb`` file: the log format of LevelDB, with W&B's header and plain CRC32.

A file is blocks of 32 KiB. A block holds chunks of ``<crc32, u16 length, u8 kind>`` and data; a record is one chunk, or
a first, middle ones and a last. After damage, reading goes on at the next block.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

_SIGNATURE = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_CHUNK = struct.Struct("<IHB")
_BLOCK = 32 * 1024
_READ = 32
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_SEEDS = [zlib.crc32(bytes([kind])) for kind in range(5)]
# A record is one row of a history or one config: what is longer is refused, for the sake of memory.
_LONGEST = 16 * 2**20
# Blocks without any record, 128 MiB, after which one looks no further.
_PATIENCE = 4096


class RecordLog:
    r"""Records of a file, as far as they are whole.

    Args:
        file: The file, open for reading bytes.

    Attributes:
        foreign: Whether the file is not one of W&B; known once :meth:`records` has ended.
        skipped: Places where damage was skipped and whole records followed.
        cut: Whether the file ends in something that is not whole.

    Example:
        >>> import io
        >>> log = RecordLog(io.BytesIO(b"something else"))
        >>> list(log.records()), log.foreign
        ([], True)
    """

    def __init__(self, file: BinaryIO) -> None:
        self.foreign = False
        self.skipped = 0
        self.cut = False
        self._file = file
        self._parts: list[bytes] = []
        self._length = 0

    def records(self) -> Iterator[bytes]:
        """The records that are whole, in order; never more than some of them are in memory."""
        position, barren = len(_SIGNATURE), 0
        while content := self._file.read(_READ * _BLOCK):
            if position and not content.startswith(_SIGNATURE):
                # Where whole records follow, only the signature is damaged.
                self.foreign = self.cut = True
            for start in range(0, len(content), _BLOCK):
                found = False
                for record in self._block(content, start + position, min(start + _BLOCK, len(content))):
                    found = True
                    self.skipped += self.cut
                    self.cut = self.foreign = False
                    yield record
                position = 0
                barren = 0 if found or self._parts else barren + 1
                if barren > _PATIENCE:
                    self.cut = True
                    return
        self.cut |= bool(self._parts)

    def _block(self, content: bytes, position: int, end: int) -> Iterator[bytes]:
        while position + _CHUNK.size <= end:
            checksum, length, kind = _CHUNK.unpack_from(content, position)
            position += _CHUNK.size
            data = content[position : position + length]
            position += length
            if not _WHOLE <= kind <= _LAST or position > end or zlib.crc32(data, _SEEDS[kind]) != checksum:
                self._lose()
                return
            if kind == _WHOLE:
                if self._parts:
                    self._lose()
                yield data
            else:
                yield from self._assemble(kind, data)
        if position < end and end % _BLOCK:
            self._lose()

    def _assemble(self, kind: int, data: bytes) -> Iterator[bytes]:
        if bool(self._parts) != (kind != _FIRST) or self._length + len(data) > _LONGEST:
            self._lose()
            if kind != _FIRST:
                return
        self._parts.append(data)
        self._length += len(data)
        if kind == _LAST:
            yield b"".join(self._parts)
            self._parts, self._length = [], 0

    def _lose(self) -> None:
        self.cut = True
        self._parts, self._length = [], 0
