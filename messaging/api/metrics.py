"""Prometheus text: a dozen numbers, no tenant's names. Sessions and journal of this process, the rest is all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from messaging.api.problems import only_looked_at
from messaging.live import node
from messaging.log import sql
from messaging.models import AppStorage, GapReason, PresenceState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = [state for state in PresenceState.values if state != PresenceState.OFFLINE]


@only_looked_at
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse("".join([*_process(), *_database(), *_webhooks()]), content_type=CONTENT_TYPE)


def _process() -> Iterable[str]:
    here = node.current()
    # The loop goes on changing them: the list is taken in one step.
    states = Counter(session.state for session in list(here.hub.sessions.values()))
    yield _family("meanwhile_sessions", "gauge", "Open device sockets here.", "state", {s: states[s] for s in _STATES})
    yield _one("meanwhile_streams_live", "gauge", "Streams somebody here listens to.", len(here.hub.streams))
    polls = sum(map(len, list(here.hub.watching.values())))
    yield _one("meanwhile_polls_waiting", "gauge", "Pulls that wait for news here.", polls)
    yield _one("meanwhile_service_sockets", "gauge", "Open service sockets here.", len(here.callers))
    yield _one("meanwhile_journal_waiting", "gauge", "Messages and commands not written yet.", here.journal.waiting)
    yield _one("meanwhile_journal_batches_total", "counter", "Transactions of the writer.", here.journal.batches)
    yield _one("meanwhile_journal_commands_total", "counter", "Commands written.", here.journal.commands)
    yield _one("meanwhile_wakeups_working", "gauge", "1 if other processes are reached.", int(here.wakeups.working))


def _database() -> Iterable[str]:
    """LIMIT: reads every subscription: with millions, scrape seldom."""
    backlog, behind, far, stopped = _row(
        "SELECT coalesce(sum(s.head - u.processed), 0), count(CASE WHEN s.head > u.processed THEN 1 END),"
        " count(CASE WHEN s.head - u.processed > %s THEN 1 END),"
        " count(CASE WHEN u.stopped_at >= s.tail THEN 1 END) FROM"
        "  messaging_subscription u JOIN messaging_stream s ON s.id = u.stream_id",
        settings.MEANWHILE_BACKLOG_SOFT,
    )
    yield _one("meanwhile_backlog_messages", "gauge", "Messages not processed, summed over devices.", backlog)
    yield _one("meanwhile_subscriptions_behind", "gauge", "Subscriptions with a backlog.", behind)
    yield _one("meanwhile_subscriptions_above_soft_limit", "gauge", "Subscriptions above MEANWHILE_BACKLOG_SOFT.", far)
    yield _one("meanwhile_subscriptions_stopped", "gauge", "Subscriptions that wait at a failure.", stopped)
    (streams, stored) = _row("SELECT count(*), coalesce(sum(head - tail + 1), 0) FROM messaging_stream")
    yield _one("meanwhile_streams", "gauge", "Streams.", streams)
    (resets,) = _row("SELECT coalesce(max(resets), 0) FROM messaging_lineage")
    yield _one("meanwhile_history_resets_total", "counter", "How often an older database had been put back.", resets)
    yield _one("meanwhile_log_span_messages", "gauge", "Offsets from tail to head, summed over streams.", stored)
    (shed,) = _row("SELECT coalesce(sum(shed), 0) FROM messaging_stream")
    yield _one("meanwhile_shed_messages_total", "counter", "Messages rooms shed under their app's rate.", shed)
    (bytes_stored,) = _row("SELECT coalesce(sum(stored), 0) FROM messaging_appstorage")
    yield _one("meanwhile_stored_bytes", "gauge", "Bytes of messages and values, all apps.", bytes_stored)
    full = AppStorage.objects.full().count()
    yield _one("meanwhile_apps_full", "gauge", "Apps that have stored 99 % of what they may, or more.", full)
    states = dict(sql.run("SELECT state, count(*) FROM messaging_presence WHERE state <> 'offline' GROUP BY state"))
    # As the admin and the API count: who has never come is offline, too, and has no presence.
    (devices,) = _row("SELECT count(*) FROM apps_registry_device")
    states[PresenceState.OFFLINE.value] = devices - sum(states.values())
    yield _family(
        "meanwhile_devices",
        "gauge",
        "Devices by presence.",
        "state",
        {s: states.get(s, 0) for s in PresenceState.values},
    )
    gaps = dict(sql.run("SELECT reason, sum(to_offset - from_offset + 1) FROM messaging_gap GROUP BY reason"))
    yield _family(
        "meanwhile_gap_messages",
        "gauge",
        "Messages that became gaps somebody may still hear of.",
        "reason",
        {r: gaps.get(r, 0) for r in GapReason.values},
    )


def _webhooks() -> Iterable[str]:
    waiting, dead = _row(
        "SELECT count(CASE WHEN delivered_at IS NULL AND failed_at IS NULL THEN 1 END), count(failed_at)"
        " FROM messaging_webhookdelivery"
    )
    yield _one("meanwhile_webhook_deliveries_open", "gauge", "Webhook deliveries not answered with 2xx yet.", waiting)
    yield _one("meanwhile_webhook_deliveries_dead", "gauge", "Dead letters: webhook deliveries given up.", dead)
    (behind,) = _row(
        "SELECT coalesce(sum(f.head - w.position), 0) FROM apps_registry_webhook w"
        " JOIN messaging_feed f ON f.service_id = w.service_id AND f.head > w.position"
        " WHERE w.results AND w.disabled_at IS NULL"
    )
    yield _one("meanwhile_webhook_results_waiting", "gauge", "Results in no delivery yet. Grows: no worker.", behind)
    (off,) = _row("SELECT count(*) FROM apps_registry_webhook WHERE disabled_at IS NOT NULL")
    yield _one("meanwhile_webhooks_disabled", "gauge", "Webhooks that are switched off.", off)


def _row(statement: str, *parameters: int) -> tuple[int, ...]:
    return sql.run(statement, *parameters)[0]


def _one(name: str, kind: str, help: str, value: int) -> str:
    return f"# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"


def _family(name: str, kind: str, help: str, label: str, values: Mapping[str, int]) -> str:
    lines = "".join(f'{name}{{{label}="{one}"}} {value}\n' for one, value in values.items())
    return f"# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}"
