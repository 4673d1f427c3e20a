"""Keeps answers on disk by the content of their request, so that none is paid twice.

An answer is written when it arrives, before the next one is asked for. Several runs may use one
file at the same time.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

from geovlm.errors import DataError
from geovlm.files.jsontext import dumps
from geovlm.run.served.reply import Reply

FILE = "answers.sqlite"
_WAIT_S = 30.0
"""Time to wait for another process that writes."""


class AnswerCache:
    """Answers by the key of their request; the folder appears with the first answer.

    Raises:
        DataError: the file cannot be read or written, or is none; names it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._store: sqlite3.Connection | None = None

    def get(self, key: str) -> Reply | None:
        """Return the answer to a request, or `None`."""
        if self._store is None and not self._path.exists():
            return None
        try:
            row = self._open().execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return Reply(**json.loads(row[0])) if row is not None else None

    def put(self, key: str, reply: Reply) -> None:
        """Keep an answer; it is in the file when this returns."""
        try:
            with self._open() as store:
                store.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, dumps(asdict(reply)))
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _open(self) -> sqlite3.Connection:
        if self._store is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(self._path, timeout=_WAIT_S)
            self._store.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, reply TEXT)"
            )
        return self._store

    def _unusable(self, error: sqlite3.Error) -> DataError:
        return DataError(
            f"{self._path}: the cache of answers cannot be used: {error}",
            hint="make room, or name another folder with --set served.cache=DIR",
        )
