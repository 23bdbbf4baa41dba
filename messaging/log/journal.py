"""The Journal: one writer thread per process. All that waits becomes one transaction (group commit).

Measured: one ORM transaction per step does 250–390 messages/s on SQLite, this 17,000–37,000.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from messaging import failpoints
from messaging.log import lineage, sql, verbs
from messaging.log.effects import Effects
from messaging.log.verbs import Joining, Leaving, Outcome
from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.journal")

Done = Callable[[Outcome], None]

#: Seconds a transaction waits where somebody else has locked SQLite; it is tried twice. Whoever asked hears of it well
#: before he gives up (api/edge.py: PATIENCE).
PATIENCE = 3


def weight_of(body: Any) -> int:
    """What a command counts as: the messages of a publish, else one."""
    weight: int = getattr(body, "weight", 1)
    return weight


class Command(NamedTuple):
    """Something to write, and who hears how it went; `direct`: told from the writer thread, not from the loop."""

    body: Any
    done: Done | None
    direct: bool

    @property
    def weight(self) -> int:
        return weight_of(self.body)


Finished = list[tuple[Done, Outcome]]


def tell(done: Done, outcome: Outcome) -> None:
    """Tells somebody his outcome; what goes wrong with him is nobody else's trouble."""
    try:
        done(outcome)
    except Exception:
        logger.exception("an outcome could not be told")


class Journal:
    """Takes commands from any thread, writes them in groups, tells of them after the commit.

    committed: called in the writer thread with the effects of a transaction and the outcomes for the loop.
    """

    def __init__(self, *, committed: Callable[[Effects, Finished], None], limit: int, batch: int) -> None:
        self._committed = committed
        self._limit = limit
        self._batch = batch
        self._queue: SimpleQueue[Command | None] = SimpleQueue()
        self._waiting = 0
        self._count = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._in_doubt = False
        #: Whether the history that the connection leads to has not been looked at.
        self._unseen = False
        #: Whether the history of the database has been looked at: before that, nothing may be told of it.
        self.verified = False
        self.batches = 0
        self.commands = 0

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="meanwhile-journal", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        """Writes what waits, then ends the thread. What is submitted later is refused."""
        with self._count:
            self._closed = True
        if self._thread:
            self._queue.put(None)
            self._thread.join(timeout)

    @property
    def waiting(self) -> int:
        """How much has been taken and is not written yet, in messages and commands."""
        return self._waiting

    def submit(self, body: Any, done: Done | None = None, *, direct: bool = False) -> None:
        """Queues a command. Raises `overloaded` when the queue is full: refused, not grown."""
        weight = weight_of(body)
        with self._count:
            if self._closed:
                raise ProtocolError("restart")
            if self._waiting and self._waiting + weight > self._limit:
                raise ProtocolError("overloaded")
            self._waiting += weight
            # Before the lock is let go: behind the end that `stop` puts there, nobody would read it.
            self._queue.put(Command(body, done, direct))

    def call(self, body: Any, timeout: float = 30) -> Outcome:
        """Submits from a thread and waits for the outcome. Raises what the command raised, or `unavailable`."""
        future: Future[Outcome] = Future()
        self.submit(body, future.set_result, direct=True)
        try:
            outcome = future.result(timeout)
        except TimeoutError:
            raise ProtocolError("unavailable", "The outcome is not known in time.") from None
        if isinstance(outcome, ProtocolError):
            raise outcome
        return outcome

    def _write(self) -> None:
        try:
            while batch := self._take():
                self._commit(batch)
                with self._count:
                    self._waiting -= sum(command.weight for command in batch)
        finally:
            connection.close()

    def _take(self) -> list[Command]:
        """All that waits, up to the bound; blocks while nothing does. [] at the end."""
        first = self._queue.get()
        if first is None:
            return []
        batch = [first]
        weight = first.weight
        while weight < self._batch:
            try:
                command = self._queue.get_nowait()
            except Empty:
                break
            if command is None:
                self._queue.put(None)
                break
            batch.append(command)
            weight += command.weight
        return batch

    def _commit(self, batch: list[Command]) -> None:
        # Joins lock their streams, publishes theirs: in one transaction that is not the order of ids any more, and two
        # processes would wait for each other (PostgreSQL's deadlock detector takes a second to find out).
        joins = sum(isinstance(command.body, Joining) for command in batch)
        if 0 < joins < len(batch):
            for part in _joins_apart(batch):
                self._commit(part)
            return
        effects = Effects()
        try:
            outcomes = self._attempt(batch, effects)
        except (OperationalError, InterfaceError) as error:
            # The database is away, or its answer to the commit was lost. No command is to blame: all hear of it.
            effects = Effects()
            outcomes = [_failure(error)] * len(batch)
        except Exception as error:
            # One command that fails must not sink its neighbours: each again, alone.
            if len(batch) > 1:
                logger.warning("a batch of %d failed (%s); each runs alone", len(batch), type(error).__name__)
                for command in batch:
                    self._commit([command])
                return
            effects = Effects()
            outcomes = [_failure(error)]
        self.batches += 1
        self.commands += len(batch)
        self._tell(batch, outcomes, effects)

    def _attempt(self, batch: list[Command], effects: Effects) -> list[Outcome]:
        """One transaction; once more if the database was locked or the connection had died. Not if nobody knows how the
        commit went: it may have been done, and a second time would store everything twice.
        """
        try:
            return self._transaction(batch, effects)
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if self._in_doubt and not _undone(error):
                raise
            effects.clear()
            return self._transaction(batch, effects)

    def _transaction(self, batch: list[Command], effects: Effects) -> list[Outcome]:
        self._in_doubt = False
        if connection.connection is None:
            self._unseen = True
        if self._unseen:
            sql.wait_for_locks(PATIENCE)
            # A new connection may lead to another history: looked at before any cursor moves on it.
            lineage.verify()
            self._unseen, self.verified = False, True
        with transaction.atomic():
            outcomes = verbs.run([command.body for command in batch], effects)
            self._in_doubt = True
        self._in_doubt = False
        lineage.remember(effects.stored)
        for kind in {type(command.body) for command in batch}:
            failpoints.hit(verbs.COMMITTED.get(kind, ""))
        return outcomes

    def _tell(self, batch: list[Command], outcomes: list[Outcome], effects: Effects) -> None:
        finished: Finished = []
        for command, outcome in zip(batch, outcomes, strict=True):
            if command.done is None:
                if isinstance(outcome, ProtocolError) and outcome.code.name == "internal":
                    logger.error("%s failed", type(command.body).__name__)
            elif command.direct:
                tell(command.done, outcome)
            else:
                finished.append((command.done, outcome))
        if effects or finished:
            try:
                self._committed(effects, finished)
            except Exception:
                # What was committed is found by the next repair round; without this thread nothing would be.
                logger.exception("what was committed could not be told")


def _joins_apart(batch: Sequence[Command]) -> list[list[Command]]:
    """Joins, and then the rest; but a join that came behind a leave, after it: it may be of the same room."""
    parts: list[list[Command]] = [[], []]
    left = False
    for command in batch:
        joins = isinstance(command.body, Joining)
        if joins and left:
            parts += [[], []]
            left = False
        parts[-2 if joins else -1].append(command)
        left = left or isinstance(command.body, Leaving)
    return [part for part in parts if part]


def _undone(error: Exception) -> bool:
    """Whether the database itself said that it took the transaction back: a deadlock, a lock not had in time."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
    return str(state).startswith(("40", "SQLITE_BUSY"))


def _failure(error: Exception) -> ProtocolError:
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, DatabaseError | InterfaceError | OSError):
        # OSError: its side file.
        logger.error("the database refused: %s", type(error).__name__, exc_info=error)
        return ProtocolError("unavailable")
    logger.error("a command failed", exc_info=error)
    return ProtocolError("internal")
