"""Reward programs for the checks before a run."""

import os
import time


def good(messages, text):
    return len(text)


def with_answer(messages, text, answer):
    return float(answer)


def none(messages, text):
    return None


def unsure(messages, text):
    return float("nan")


def hang(messages, text):
    time.sleep(600)


def choosy(messages, text):
    if text == "Bad.":
        os._exit(2)
    return 1
