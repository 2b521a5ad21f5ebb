"""What of the lab runs inside OpenStack's own environment; the project's never imports it."""
