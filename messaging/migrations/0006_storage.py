from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def count(apps: Any, schema_editor: Any) -> None:
    """What is stored already: bytes of data, and 100 a row (`log/storage.py`)."""
    octets = "octet_length(x.payload)"
    if schema_editor.connection.vendor != "postgresql":
        octets = "length(CAST(x.payload AS BLOB))"
    for table in ("messaging_message", "messaging_latestvalue"):
        schema_editor.execute(
            "INSERT INTO messaging_storagechange (app_id, stored)"
            f" SELECT s.app_id, sum({octets} + 100) FROM {table} x"
            " JOIN messaging_stream s ON s.id = x.stream_id GROUP BY s.app_id"
        )


class Migration(migrations.Migration):

    dependencies = [
        ('apps_registry', '0003_storage_limit'),
        ('messaging', '0005_webhooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='AppStorage',
            fields=[
                ('app', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='storage', serialize=False, to='apps_registry.app')),
                ('stored', models.BigIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'storage of apps',
                'verbose_name_plural': 'storage of apps',
            },
        ),
        migrations.AddField(
            model_name='latestvalue',
            name='grown',
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.CreateModel(
            name='StorageChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stored', models.BigIntegerField()),
                ('app', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='apps_registry.app')),
            ],
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
