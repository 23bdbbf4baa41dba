from __future__ import annotations

from django.db import migrations, models

#: Until now services had been told of every change at once.
TOLD = "UPDATE messaging_presence SET told_state = state, told_at = changed_at"


class Migration(migrations.Migration):

    dependencies = [
        ('apps_registry', '0001_initial'),
        ('messaging', '0003_lineage'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='presence',
            name='presence_changes',
        ),
        migrations.AddField(
            model_name='presence',
            name='told_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='presence',
            name='told_state',
            field=models.CharField(choices=[('foreground', 'Foreground'), ('background', 'Background'), ('offline', 'Offline')], db_default='offline', default='offline', max_length=10),
        ),
        migrations.RunSQL(TOLD, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='presence',
            index=models.Index(fields=['told_at'], name='presence_told'),
        ),
        migrations.AddIndex(
            model_name='presence',
            index=models.Index(condition=models.Q(('state', 'offline'), models.Q(('told_state', 'offline'), _negated=True)), fields=['last_seen'], name='presence_untold'),
        ),
        migrations.AddConstraint(
            model_name='presence',
            constraint=models.CheckConstraint(condition=models.Q(('told_state__in', ['foreground', 'background', 'offline'])), name='presence_told_state_known'),
        ),
    ]
