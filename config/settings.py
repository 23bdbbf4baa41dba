"""Everything the server can be told, from the environment; runs with nothing set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import parse_url

from config import env
from config.secret import stored_secret

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(
    env.text("VAR_DIR", "var", "Folder for the SQLite file and the generated secret; relative to the project.")
)
VAR_DIR = VAR_DIR if VAR_DIR.is_absolute() else BASE_DIR / VAR_DIR
VAR_DIR.mkdir(parents=True, exist_ok=True)

# --- Django ---------------------------------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG", False, "Django's debug pages. Never outside development.")
SECRET_KEY = env.text("SECRET_KEY", "", "Signs admin sessions. Empty: made at random once and kept in VAR_DIR.") or (
    stored_secret(VAR_DIR / "secret_key")
)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", "Host names the server answers to, by comma.")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", "", "Origins the admin's forms may come from behind a proxy.")
# It looks for Django's own CSRF middleware by name; ours is that one, on all pages (config/middleware.py).
SILENCED_SYSTEM_CHECKS = ["security.W003"]
if env.flag("BEHIND_HTTPS_PROXY", False, "A proxy ends TLS and sets X-Forwarded-Proto: cookies become secure."):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # `check --deploy`: whether and for how long only TLS is spoken, the proxy says.
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008"]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps_registry",
    "messaging",
]

# API requests pass only the short part: what serves browsers' pages steps aside for them (config/middleware.py).
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.StaticFiles",
    "config.middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "config.middleware.Csrf",
    "config.middleware.Authentication",
    "config.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = None

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Storage --------------------------------------------------------------------------------------------------------
DATABASE_URL = env.text(
    "DATABASE_URL", "", "postgres://user:password@host:5432/name. Empty: SQLite in VAR_DIR, for one process."
)
SQLITE_OPTIONS: dict[str, Any] = {
    # Writers queue at BEGIN instead of failing half-way with "database is locked".
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        " PRAGMA mmap_size=268435456; PRAGMA journal_size_limit=67108864"
    ),
}


#: Seconds and, the last, milliseconds: a server that vanished without a word is given up in ten seconds.
POSTGRES_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}


def database(url: str) -> dict[str, Any]:
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": VAR_DIR / "meanwhile.sqlite3",
            "OPTIONS": SQLITE_OPTIONS,
            "CONN_MAX_AGE": None,
            # A file, so that threads share the test database as they share the real one.
            "TEST": {"NAME": VAR_DIR / "test.sqlite3"},
        }
    try:
        parsed = dict(dj_database_url.parse(url))
    except ValueError:
        parsed = {"ENGINE": "", "NAME": ""}
    if parsed["ENGINE"] == "django.db.backends.sqlite3":
        return {**parsed, "OPTIONS": SQLITE_OPTIONS, "CONN_MAX_AGE": None, "TEST": {"NAME": f"{parsed['NAME']}.test"}}
    if parsed["ENGINE"] != "django.db.backends.postgresql" or not parsed["NAME"]:
        # Without a database nothing makes sense; another one than was meant would be worse. Not shown: a password.
        raise ImproperlyConfigured("DATABASE_URL makes no sense. Say postgres://user:password@host:5432/name.")
    # The threads are the pool: each keeps one connection, looked at before a request uses it (decisions.md).
    options = {**POSTGRES_OPTIONS, **parsed.get("OPTIONS", {})}
    return {**parsed, "OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}


DATABASES = {"default": database(DATABASE_URL)}

# --- Between processes ----------------------------------------------------------------------------------------------
REDIS_URL = env.text("REDIS_URL", "", "redis://host:6379/0: wake-ups between processes. Empty: one process only.")
try:
    parse_url(REDIS_URL or "redis://")
except ValueError:
    env.PROBLEMS.append(env.Problem("REDIS_URL", "…", "Say redis://host:6379/0."))  # not shown: a password
WEB_CONCURRENCY = env.integer(
    "WEB_CONCURRENCY",
    1,
    "How many processes share this configuration. Starts none; a check compares it with REDIS_URL.",
    least=1,
    most=10_000,
)
CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # A Redis that stands still must not hold up anything; one that vanished without a word must be noticed.
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    "socket_timeout": 2,
                    "socket_connect_timeout": 2,
                    "health_check_interval": 5,
                    "retry": Retry(NoBackoff(), 1),
                }
            ],
            "prefix": "meanwhile",
        },
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# --- API ------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["messaging.api.parsers.StrictJSONParser"],
    "EXCEPTION_HANDLER": "messaging.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Meanwhile",
    "DESCRIPTION": "Realtime delivery for apps that people leave and come back to.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "SaidState": "messaging.api.shapes.STATES",
        "SaidStatus": "messaging.api.shapes.FAILURES",
        "State": "messaging.models.PresenceState.values",
        "Whereabouts": "messaging.api.shapes.WHEREABOUTS",
        "Status": "messaging.models.ResultStatus.values",
        "DeliveryState": "messaging.models.DeliveryState.values",
    },
}

# --- Meanwhile ------------------------------------------------------------------------------------------------------
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
ENVIRONMENT_PROBLEMS = env.PROBLEMS

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO", "Least level that is logged.")},
    "loggers": {
        "django.server": {"level": "WARNING"},
        # A line per request, with the whole URL.
        "httpx": {"level": "WARNING"},
        # A traceback a second while Redis is away; messaging/live/wakeups.py says it once.
        "channels_redis": {"level": "CRITICAL"},
    },
}
