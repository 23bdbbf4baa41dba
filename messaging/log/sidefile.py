"""The side file of an SQLite database: the nonces that the database may bear, and how much it must have stored.

What they are for: `lineage`.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path

logger = logging.getLogger("meanwhile.lineage")

#: Bytes of a line: nonces in the first, the mark in the second, each written by one call.
LINE = 64


class SideFile:
    """Two lines of fixed length. Only the mark is written while the server runs; by several processes, too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._open: int | None = None
        self._dirty = False
        self._failed = False
        self._mark = 0
        #: The one this process wrote.
        self.nonce = ""

    def read(self) -> tuple[list[str], int] | None:
        """(nonces, mark), or None where there is no file that can be read."""
        try:
            text = self.path.read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        said = re.fullmatch(r"nonces ([0-9a-f ]+?) *\nmark +(\d+)\n", text)
        return (said[1].split(), int(said[2])) if said else None

    def write(self, nonces: list[str], mark: int) -> None:
        """Both lines, on disk when it returns."""
        text = f"{'nonces ' + ' '.join(nonces):<{LINE - 1}}\n{self._line(mark)}"
        with self._lock:
            descriptor = self._descriptor(os.O_CREAT)
            os.pwrite(descriptor, text.encode(), 0)
            os.ftruncate(descriptor, 2 * LINE)
            os.fsync(descriptor)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._mark, self._dirty, self.nonce = mark, False, nonces[-1]

    def write_mark(self, mark: int) -> None:
        try:
            with self._lock:
                if mark > self._mark:
                    os.pwrite(self._descriptor(), self._line(mark).encode(), LINE)
                    self._mark, self._dirty = mark, True
        except OSError as error:
            level = logging.DEBUG if self._failed else logging.ERROR
            self._failed = True
            logger.log(level, "the side file of the database cannot be written: %s", error.strerror)

    def sync(self) -> None:
        with self._lock:
            if self._dirty:
                os.fsync(self._descriptor())
                self._dirty = False

    def _line(self, mark: int) -> str:
        return f"mark {mark:>{LINE - 6}}\n"

    def _descriptor(self, flags: int = 0) -> int:
        """Opened once; again where somebody has moved the file away."""
        if self._open is not None and not self.path.exists():
            os.close(self._open)
            self._open = None
        if self._open is None:
            self._open = os.open(self.path, os.O_RDWR | flags, 0o600)
        return self._open
