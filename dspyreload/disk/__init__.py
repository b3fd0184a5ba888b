"""Files: reading them and finding them. No Twisted."""
