"""What the description of the API says of an operation beside its summary (schema.py)."""

from __future__ import annotations

import inspect

from drf_spectacular.openapi import AutoSchema


class Described(AutoSchema):
    def get_description(self) -> str:
        """The docstrings of the view itself and of its method, and the scope that a key needs."""
        documented = (type(self.view), getattr(self.view, self.method.lower()))
        said = [inspect.cleandoc(one.__doc__) for one in documented if one.__doc__]
        scopes = [permission.scope for permission in self.view.get_permissions() if hasattr(permission, "scope")]
        return "\n\n".join([*said, *(f"Scope: {scope}." for scope in scopes)])
