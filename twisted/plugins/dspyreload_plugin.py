"""Make ``twistd dspyreload`` known; the plugin itself is ``dspyreload.tap``."""

from twisted.application.service import ServiceMaker

dspyreload = ServiceMaker(
    "dspyreload",
    "dspyreload.tap",
    "Serve a directory of DSPy modules, live: a saved file is served at once, whole or not at all.",
    "dspyreload",
)
