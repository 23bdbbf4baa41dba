"""The in-memory path: speed, never the truth. Everything here may be lost at any moment without losing a message."""
