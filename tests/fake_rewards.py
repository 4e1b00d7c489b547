"""Reward functions for tests: found by their names, also in another process."""

import os
import time

from rslib import RewardFunction


def exact(prompt, response, reference):
    """Whether the response is the reference."""
    return response == reference


def length(prompt, response):
    """Words of the response."""
    return float(len(response.split()))


def hangs(prompt, response):
    """Never done with a response that says so."""
    while "hang" in response:
        time.sleep(0.01)
    return 1.0


def dies(prompt, response):
    """Takes its process along."""
    if "die" in response:
        os._exit(3)
    return 1.0


def talks(prompt, response):
    """Prints, and reads what nobody types."""
    print("thinking")
    try:
        input()
    except EOFError:
        return 1.0


def process(prompt, response):
    """The process that was asked, slowly."""
    time.sleep(0.05)
    return os.getpid()


def recorded(prompt, response):
    """1.0; every call leaves a line in the file that the environment names, and may fail there."""
    with open(os.environ["RECORDED"], "a") as file:
        file.write("x\n")
    time.sleep(0.02)
    if os.path.exists(os.environ["RECORDED"] + ".fail") and "7" in prompt:
        raise OSError("the service is down")
    return 1.0


_seen = set()


def new(prompt, response):
    """Whether the response was not seen before: a reward for variety."""
    first = response not in _seen
    _seen.add(response)
    return first


limited = RewardFunction(length, timeout=20.0)
limited_and_recorded = RewardFunction(recorded, timeout=20.0, workers=2)


async def asynchronous(prompt, response):
    return 1.0


class Asynchronous:
    async def __call__(self, prompt, response):
        return 1.0
