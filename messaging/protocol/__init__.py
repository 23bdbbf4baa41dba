"""The protocol as pure decisions: no Django, no clock, no I/O."""
