"""Values in, values out: no clock, no thread, no file, no logger, no Twisted."""
