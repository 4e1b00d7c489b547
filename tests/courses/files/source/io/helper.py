"""My helpers."""

NAMES = ["Ada", "Bo"]


def double(thing):
    return thing * 2
