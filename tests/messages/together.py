def together():
    return ""
