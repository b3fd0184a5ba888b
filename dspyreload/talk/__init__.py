"""Calls as the reactor sees them: Deferreds, streams, leases."""
