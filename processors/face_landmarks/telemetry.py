"""Keeps MediaPipe's usage reporting from leaving the machine.

Since 0.10.30 MediaPipe's library posts usage figures to play.googleapis.com with its own libcurl. In 1.2.2
that happens when a task is closed, whatever options the task was given; there is no switch. So:

1. Linux: the thread in which MediaPipe is created gives up the system call `socket`. A seccomp filter is
   inherited by all threads that a thread starts, so it covers those of MediaPipe and no others: neither
   connections nor name look-ups (not even those of a local resolver) can be made there.
2. Elsewhere the whole process gets a proxy whose scheme libcurl does not know, so that it gives up before it
   resolves a name. It is the worker's process, in which nothing else needs the network.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["offline"]

T = TypeVar("T")

# machine: (AUDIT_ARCH of linux/audit.h, number of the system call `socket`)
_SOCKET_CALL = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2  # linux/prctl.h, linux/seccomp.h
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY")


def offline(create: Callable[[], T]) -> T:
    """Call `create` such that neither it nor the threads which it starts can reach the network."""
    with ThreadPoolExecutor(1, "offline") as thread:
        if not thread.submit(_give_up_sockets).result():
            _set_dead_proxy()
        return thread.submit(create).result()


def _set_dead_proxy() -> None:
    """Have libcurl fail before it resolves a name; affects the whole process."""
    os.environ.update(dict.fromkeys(_PROXIES, "none://"))
    for name in ("no_proxy", "NO_PROXY"):
        os.environ.pop(name, None)


def _give_up_sockets() -> bool:
    """Make `socket` fail in this thread and all that it starts; false where the system cannot do so."""
    if not sys.platform.startswith("linux") or platform.machine() not in _SOCKET_CALL:
        return False
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        return False
    return not prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(_filter()))


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter() -> _Program:
    """A program of classic BPF: the call `socket` fails with EACCES, all others are allowed."""
    architecture, socket = _SOCKET_CALL[platform.machine()]
    steps = (
        (_LOAD, 0, 0, 4),  # offset of `arch` in struct seccomp_data
        (_JUMP_IF_EQUAL, 0, 3, architecture),
        (_LOAD, 0, 0, 0),  # offset of `nr`
        (_JUMP_IF_EQUAL, 0, 1, socket),
        (_RETURN, 0, 0, _ERRNO | errno.EACCES),
        (_RETURN, 0, 0, _ALLOW),
    )
    return _Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
