"""What the verbs are told is checked field by field, before anything is written."""

from __future__ import annotations

import reprlib

from django.core.exceptions import ValidationError
from django.db import models


def check_fields(row: models.Model) -> None:
    """Validates without a query (clean_fields would look the app up), and says which value was wrong."""
    try:
        row.clean_fields(exclude={"app"})
    except ValidationError as error:
        told = {field: reprlib.repr(getattr(row, field)) for field in error.message_dict}
        raise ValidationError(
            {field: [f"{told[field]}: {words}" for words in lines] for field, lines in error.message_dict.items()}
        ) from error
