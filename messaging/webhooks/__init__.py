"""Webhooks: what is due is made into deliveries, signed and posted by workers (`manage.py deliver_webhooks`)."""
