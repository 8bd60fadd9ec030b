"""How many files and sockets the process may have open."""

import os
import resource

from serving.errors import StartupError

_RESERVE = 64
"""For everything but connections to the doors: listeners, metrics, bundles, logs, what the libraries hold."""


def keep_standard_ones() -> None:
    """Open what is closed of descriptors 0 to 2, before anything else gets their numbers.

    libuv ends the process when it is to close one of them, and what is written to stderr would go to whoever
    has it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
            os.set_inheritable(number, True)  # by the workers


def connections_that_fit(wanted: int, doors: int) -> int:
    """At most ``wanted`` connections to each door, and no more than there are descriptors for.

    Raises:
        StartupError: there is no room for any; libraries that lack a descriptor may end the process.

    Raises the process's limit as far as it may, as servers do: the usual 1,024 is for ``select``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted_descriptors = wanted * doors + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted_descriptors:
        soft = wanted_descriptors if hard == resource.RLIM_INFINITY else min(hard, wanted_descriptors)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < _RESERVE + doors:
        raise StartupError(
            f"open files (ulimit -n): want {_RESERVE + doors} and more, this process may have {soft}"
        )
    return min(wanted, (soft - _RESERVE) // doors)
