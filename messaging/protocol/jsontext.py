"""JSON at the door: what every reader understands alike, and nothing else.

json.loads takes NaN and 1e999 (every browser's JSON.parse throws on them), lone surrogates and U+0000 (PostgreSQL
refuses them) and duplicate members (readers differ on which counts). Here all of them are errors.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from messaging.protocol.errors import ProtocolError


def _constant(name: str) -> NoReturn:
    raise ProtocolError("bad_json", f"{name} is not JSON.")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ProtocolError("bad_json", "A number is beyond what a double holds.")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ProtocolError("bad_json", "An object has the same member twice.")
    return members


_decode = json.JSONDecoder(parse_constant=_constant, parse_float=_float, object_pairs_hook=_object).decode


_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"[]", b"{}")
#: An escaped U+0000, and not an escaped backslash before "u0000".
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _deeper_than(text: str, levels: int) -> bool:
    """Whether the nesting, strings left out, is deeper: innermost pairs are taken off, level by level, until none is
    left. Of text that is not JSON it may say no; the decoder finds that out."""
    # Without escapes every second part between quotation marks is a string. Plain replacing and splitting takes a tenth
    # of what a regular expression does.
    parts = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    brackets = "".join(parts).encode(errors="replace").translate(_ALIKE, _NOT_BRACKETS)
    for _ in range(levels):
        inner = brackets.replace(b"{}", b"")
        if inner == brackets:
            return len(brackets) > 2 * levels
        brackets = inner
    return bool(brackets)


def strict(text: str, *, max_depth: int) -> Any:
    """The decoded value of JSON text that is safe to store and to pass on.

    Raises ProtocolError `bad_json` or `too_deep`.
    """
    if text.count("[") + text.count("{") > max_depth and _deeper_than(text, max_depth):
        raise ProtocolError("too_deep", f"More than {max_depth} levels.")
    if "\\u0000" in text and _NUL.search(text):
        raise ProtocolError("bad_json", "U+0000 cannot be stored.")
    try:
        value = _decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
        elif not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise ProtocolError("bad_json", "A surrogate stands alone.") from None
    except (ValueError, RecursionError) as error:
        # json's own words name positions, not content; int() refuses numbers of thousands of digits.
        reason = f"{error.msg} at character {error.pos}." if isinstance(error, json.JSONDecodeError) else ""
        raise ProtocolError("bad_json", reason) from None
    return value


def text_of(raw: bytes) -> str:
    """UTF-8 bytes as text. Raises `bad_json`."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("bad_json", "This is not UTF-8.") from None
