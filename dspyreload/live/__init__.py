"""What runs on the reactor. It is handed what it calls, and imports no ``lm``."""
