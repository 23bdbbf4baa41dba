"""The durable path: set-based statements inside one transaction, the same functions for the Journal and for callers."""
