"""The test client at `/` and its small back end: what a customer's own back end would be. Only with MEANWHILE_DEMO."""
