from __future__ import annotations

import django.db.models.functions.datetime
import messaging.models.stream
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_device_backlog")]

    operations = [
        migrations.CreateModel(
            name="Lineage",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                (
                    "installation",
                    models.CharField(default=messaging.models.stream.new_epoch, editable=False, max_length=16),
                ),
                ("origin", models.CharField(blank=True, max_length=64)),
                ("stored", models.BigIntegerField(default=0)),
                ("resets", models.PositiveIntegerField(default=0)),
                ("since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
        ),
        migrations.AddConstraint(
            model_name="lineage",
            constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="lineage_is_one_row"),
        ),
    ]
