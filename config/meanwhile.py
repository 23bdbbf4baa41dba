"""What Meanwhile itself can be told: how much, how fast, how long. Settings of the same names, from the environment."""

from __future__ import annotations

from config import env

KIB = 1024
DAY = 86400
MEANWHILE_DEMO = env.flag(
    "MEANWHILE_DEMO", False, "Serve the test client at / with its small back end for the demo app."
)
MEANWHILE_ORIGINS = env.words(
    "MEANWHILE_ORIGINS",
    "",
    "Browser origins that may open sockets besides the server's own, e.g. https://app.example.com",
)
MEANWHILE_HTTP_THREADS = env.integer("MEANWHILE_HTTP_THREADS", 4, "Threads for HTTP requests.", least=1, most=256)
MEANWHILE_HTTP_WAITING = env.integer(
    "MEANWHILE_HTTP_WAITING", 2048, "HTTP requests that may wait for a thread; beyond: 503.", least=1, most=100_000
)
MEANWHILE_POLLS = env.integer(
    "MEANWHILE_POLLS", 5000, "Pulls that may wait for news (`wait`) at once; beyond: 503.", least=0, most=1_000_000
)
MEANWHILE_MAX_BODY = env.integer(
    "MEANWHILE_MAX_BODY", 8192 * KIB, "Largest HTTP request body (bytes).", least=4 * KIB, most=1024 * 1024 * KIB
)
MEANWHILE_MAX_DATA = env.integer(
    "MEANWHILE_MAX_DATA", 64 * KIB, "Largest `data` of a message (bytes of JSON).", least=64, most=16 * 1024 * KIB
)
MEANWHILE_MAX_FRAME = env.integer(
    "MEANWHILE_MAX_FRAME", 256 * KIB, "Largest frame a socket takes (bytes).", least=4 * KIB, most=1024 * KIB
)
MEANWHILE_MAX_DEPTH = env.integer("MEANWHILE_MAX_DEPTH", 32, "Deepest nesting of JSON.", least=4, most=200)
MEANWHILE_MAX_BATCH = env.integer("MEANWHILE_MAX_BATCH", 1000, "Most messages of one publish.", least=1, most=10_000)
MEANWHILE_PAGE = env.integer(
    "MEANWHILE_PAGE", 500, "Messages of a pull page, when no limit is asked for.", least=1, most=10_000
)
MEANWHILE_PAGE_MAX = env.integer("MEANWHILE_PAGE_MAX", 2000, "Largest limit of a pull page.", least=1, most=10_000)
MEANWHILE_WINDOW = env.integer(
    "MEANWHILE_WINDOW", 64, "Unacknowledged messages a connection may have.", least=1, most=100_000
)
MEANWHILE_WINDOW_BYTES = env.integer(
    "MEANWHILE_WINDOW_BYTES",
    1024 * KIB,
    "Unacknowledged bytes a connection may have.",
    least=KIB,
    most=1024 * 1024 * KIB,
)
MEANWHILE_FRAME_RATE = env.integer("MEANWHILE_FRAME_RATE", 100, "Frames a second of a device.", least=1, most=100_000)
MEANWHILE_FRAME_BURST = env.integer("MEANWHILE_FRAME_BURST", 200, "Frames at once of a device.", least=1, most=100_000)
MEANWHILE_RATE_PUBLISH = env.integer(
    "MEANWHILE_RATE_PUBLISH", 200_000, "Messages a second of a service key (times streams).", least=1, most=10**9
)
MEANWHILE_RATE_READ = env.integer(
    "MEANWHILE_RATE_READ", 2000, "Reading requests a second of a service key.", least=1, most=10**9
)
MEANWHILE_RATE_MANAGE = env.integer(
    "MEANWHILE_RATE_MANAGE", 2000, "Changing requests a second of a service key.", least=1, most=10**9
)
MEANWHILE_RATE_DEVICE = env.integer(
    "MEANWHILE_RATE_DEVICE", 500, "HTTP requests a second of a device.", least=1, most=10**9
)
MEANWHILE_RATE_BYTES = env.integer(
    "MEANWHILE_RATE_BYTES", 256 * 1024 * KIB, "Published bytes a second of an app.", least=KIB, most=10**12
)
MEANWHILE_APP_CONNECTIONS = env.integer(
    "MEANWHILE_APP_CONNECTIONS", 100_000, "Open sockets of an app.", least=1, most=10**7
)
MEANWHILE_APP_BYTES = env.integer(
    "MEANWHILE_APP_BYTES",
    10 * 1024 * 1024 * KIB,
    "What an app may have stored, where the admin says nothing else (bytes); 0: unbounded.",
    least=0,
    most=10**18,
)
MEANWHILE_TTL = env.integer("MEANWHILE_TTL", 7 * DAY, "Life of an `every` message (s).", least=1, most=3650 * DAY)
MEANWHILE_GRACE = env.integer(
    "MEANWHILE_GRACE", 3600, "How long what every subscriber has processed is kept (s).", least=0, most=3650 * DAY
)
MEANWHILE_RESULTS_KEPT = env.integer(
    "MEANWHILE_RESULTS_KEPT",
    7 * DAY,
    "How long the results feed and the timeline are kept (s).",
    least=60,
    most=3650 * DAY,
)
MEANWHILE_IDEMPOTENCY_KEPT = env.integer(
    "MEANWHILE_IDEMPOTENCY_KEPT", DAY, "How long answers to Idempotency-Keys are kept (s).", least=60, most=365 * DAY
)
MEANWHILE_BACKLOG_HARD = env.integer(
    "MEANWHILE_BACKLOG_HARD",
    100_000,
    "Stored messages of a stream; beyond: the oldest become a gap.",
    least=10,
    most=10**9,
)
MEANWHILE_BACKLOG_SOFT = env.integer(
    "MEANWHILE_BACKLOG_SOFT", 10_000, "Backlog at which a device is shown as falling behind.", least=1, most=10**9
)
MEANWHILE_WEBHOOK_TIMEOUT = env.number(
    "MEANWHILE_WEBHOOK_TIMEOUT", 15, "Time a webhook has to answer (s).", least=0.1, most=120
)
MEANWHILE_WEBHOOK_PRIVATE = env.flag(
    "MEANWHILE_WEBHOOK_PRIVATE",
    True,
    "Webhooks may go to private and loopback addresses. Link-local and metadata addresses are always refused.",
)
MEANWHILE_WEBHOOK_DEAD_KEPT = env.integer(
    "MEANWHILE_WEBHOOK_DEAD_KEPT",
    30 * DAY,
    "How long webhook deliveries that failed for good are kept (s).",
    least=3600,
    most=3650 * DAY,
)
MEANWHILE_LEAVE_DELAY = env.number(
    "MEANWHILE_LEAVE_DELAY",
    15,
    "How long a device must be away before services hear `offline` and its rooms count it no more (s).",
    least=0,
    most=3600,
)
MEANWHILE_HOLD_TIMEOUT = env.number("MEANWHILE_HOLD_TIMEOUT", 30, "Longest hold (s).", least=0.1, most=3600)
MEANWHILE_REPAIR_INTERVAL = env.number(
    "MEANWHILE_REPAIR_INTERVAL",
    1,
    "Seconds between two rounds that compare sessions with the database.",
    least=0.05,
    most=60,
)
MEANWHILE_CLEANUP_INTERVAL = env.number(
    "MEANWHILE_CLEANUP_INTERVAL", 30, "Seconds between two rounds of retention; 0: only the command.", least=0, most=DAY
)
MEANWHILE_PING_INTERVAL = env.number("MEANWHILE_PING_INTERVAL", 25, "Heartbeat of clients (s).", least=0.1, most=600)
MEANWHILE_SILENCE = env.number(
    "MEANWHILE_SILENCE", 60, "A foreground device silent for so long is dropped (s).", least=0.2, most=3600
)
MEANWHILE_HELLO_TIMEOUT = env.number("MEANWHILE_HELLO_TIMEOUT", 5, "Time for the first frame (s).", least=0.1, most=60)
MEANWHILE_STALL_TIMEOUT = env.number(
    "MEANWHILE_STALL_TIMEOUT",
    60,
    "A connection that takes nothing for so long is closed with 4008 (s).",
    least=0.5,
    most=3600,
)
MEANWHILE_TOKEN_LIFE = env.integer(
    "MEANWHILE_TOKEN_LIFE", 30 * DAY, "Life of a device token (s).", least=10, most=3650 * DAY
)
MEANWHILE_JOURNAL_QUEUE = env.integer(
    "MEANWHILE_JOURNAL_QUEUE",
    20_000,
    "Rows and commands that may wait for the writer, rows of more than 4 KiB counted as several; beyond: overloaded.",
    least=10,
    most=10**7,
)
MEANWHILE_JOURNAL_BATCH = env.integer(
    "MEANWHILE_JOURNAL_BATCH",
    2000,
    "Most rows and commands of one transaction, unless one alone has more.",
    least=1,
    most=20_000,
)
MEANWHILE_RING = env.integer(
    "MEANWHILE_RING", 256, "Recent messages of a stream kept in memory.", least=8, most=100_000
)
MEANWHILE_REQUIRE_DURABLE = env.flag(
    "MEANWHILE_REQUIRE_DURABLE", True, "Not ready while the database does not wait for the disk. Off: tests only."
)
