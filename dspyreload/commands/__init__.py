"""The offline commands, ``dspyreload COMMAND``: one file for each, and what they share."""
