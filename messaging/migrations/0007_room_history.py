from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('apps_registry', '0003_storage_limit'),
        ('messaging', '0006_storage'),
    ]

    operations = [
        migrations.AddField(
            model_name='stream',
            name='history_last',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='stream',
            name='history_since',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='stream',
            constraint=models.CheckConstraint(condition=models.Q(('history_last', None), ('history_since', None), _connector='OR'), name='stream_history_one_way'),
        ),
    ]
