"""Imported first by the process that others are forked from: see `suite.uncollected`."""

import atexit
import gc
import os

gc.disable()
atexit.register(os._exit, 0)  # when all else is done: to take the modules down costs 1.7 s of CPU
