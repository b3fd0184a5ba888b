"""Every message that a writer can meet, each with the files that cause it: what ``docs/messages.md`` is made of."""
