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
from config.meanwhile import *  # noqa: F403
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
    "DEFAULT_SCHEMA_CLASS": "messaging.api.describing.Described",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Meanwhile",
    "DESCRIPTION": "Realtime delivery for apps that people leave and come back to.",
    "VERSION": "1",
    # In the order of the page. Which operation is in which is said by messaging/api/schema.py.
    "TAGS": [
        {
            "name": "For services",
            "description": "Back ends that publish and manage: `Authorization: Bearer` service key.",
        },
        {"name": "For devices", "description": "Installations of the app: `Authorization: Bearer` device token."},
    ],
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

# --- Meanwhile: its own settings are those of config/meanwhile.py ---------------------------------------------------
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
