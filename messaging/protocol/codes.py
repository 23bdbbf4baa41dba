"""The one registry of error codes, for frames, closes and HTTP problems alike.

Mirrored in static/messaging/client/codes.js and docs/reference/errors.md; a test compares the three.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """`status`: of the HTTP problem. `close`: the WebSocket close code, where the error ends a connection."""

    name: str
    title: str
    status: int
    close: int | None = None
    temporary: bool = False


_ALL = (
    Code("bad_json", "This is not JSON that can be accepted.", 400),
    Code("too_deep", "The JSON is nested too deeply.", 400),
    Code("too_large", "This is too large.", 413),
    Code("invalid", "A member is missing or has a value that is not allowed.", 400),
    Code("unknown_type", "There is no frame of this type.", 400),
    Code("bad_host", "The server does not answer to this host name.", 400),
    Code("hello_expected", "The first frame must be a hello.", 400, 4501),
    Code("not_the_protocol", "This connection does not speak meanwhile.v1.json.", 400, 4501),
    Code("bad_token", "The device token is not valid.", 401, 4500),
    Code("token_expired", "The device token has expired.", 401, 4005, temporary=True),
    Code("bad_key", "The service key is not valid.", 401, 4500),
    Code("device_revoked", "The device has been revoked.", 403, 4503),
    Code("forced_off", "The connection was ended by an operator.", 403, 4503),
    Code("wrong_scope", "The key does not have the scope for this.", 403, 4507),
    Code("not_allowed", "This is not allowed.", 403, 4507),
    Code("not_found", "There is nothing here.", 404),
    Code("unknown_stream", "There is no such stream.", 404),
    Code("unknown_device", "There is no such device.", 404),
    Code("unknown_name", "There is no message type of this name.", 404),
    Code("unknown_webhook", "There is no such webhook.", 404),
    Code("unknown_delivery", "There is no such delivery.", 404),
    Code("unknown_key", "There is no such key.", 404),
    Code("method_not_allowed", "The method is not allowed here.", 405),
    Code("not_acceptable", "No representation fits the Accept header.", 406),
    Code("silent", "Nothing was heard for too long.", 408, 4012, temporary=True),
    Code("too_slow", "The connection takes nothing.", 408, 4008, temporary=True),
    Code("superseded", "A newer connection of this device took over.", 409, 4509),
    Code("epoch_changed", "The history of the stream is another one now.", 409),
    Code("too_many_keys", "The service has as many keys as it may.", 409),
    Code("last_key", "This is the app's last key with the scope manage.", 409),
    Code("stream_closed", "The stream is closed.", 410),
    Code("position_gone", "The position is not in the stream's history.", 410, 4510),
    Code("unsupported_media_type", "The body must be application/json.", 415),
    Code("id_mismatch", "The message id was used for another message.", 422),
    Code("idempotency_mismatch", "The Idempotency-Key was used for another request.", 422),
    Code("upgrade_required", "This address speaks WebSocket.", 426),
    Code("rate_limited", "Too many requests.", 429, temporary=True),
    Code("too_many_frames", "Too many frames or connections.", 429, 4029, temporary=True),
    Code("internal", "Something went wrong on the server.", 500, temporary=True),
    Code("overloaded", "The server has too much to do at this moment.", 503, 4013, temporary=True),
    Code("unavailable", "The storage cannot be reached at this moment.", 503, temporary=True),
    Code("restart", "The server is going down and comes back.", 503, 4001, temporary=True),
    Code("storage_full", "The app has stored as much as it may.", 507, temporary=True),
)

CODES: dict[str, Code] = {code.name: code for code in _ALL}
