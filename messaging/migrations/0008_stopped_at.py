from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0007_room_history'),
    ]

    operations = [
        migrations.AddField(
            model_name='subscription',
            name='stopped_at',
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=Q(('stopped_at__isnull', True), ('stopped_at__gt', F('processed')), _connector='OR'), name='subscription_stopped_ahead'),
        ),
    ]
