from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('apps_registry', '0002_webhooks'),
    ]

    operations = [
        migrations.AddField(
            model_name='app',
            name='storage_limit',
            field=models.PositiveBigIntegerField(blank=True, help_text="What its messages and values may take. Empty: the server's default. 0: unbounded.", null=True, verbose_name='storage limit (bytes)'),
        ),
    ]
