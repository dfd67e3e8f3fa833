"""The C library's heap: what a burst of large answers took is given back to the node.

A LIST is megabytes of text and tens of thousands of small objects. glibc raises by itself the size
from which it maps memory, so that such texts come to lie in the heap, between what stays; and it
gives back only what lies at the heap's end. Elsewhere (musl) both are without effect.
"""

from __future__ import annotations

import ctypes

MAPPED_FROM = 128 * 1024
"""Bytes from which memory is mapped and so given back when it is freed: glibc's first value."""
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
_LIBRARY = ctypes.CDLL(None)


def configure() -> None:
    """Map every large text, and use one arena: the threads of this process hardly allocate."""
    if hasattr(_LIBRARY, "mallopt"):
        _LIBRARY.mallopt(_MMAP_THRESHOLD, MAPPED_FROM)
        _LIBRARY.mallopt(_ARENA_MAX, 1)


def trim() -> None:
    """Give back every page that holds nothing any more."""
    if hasattr(_LIBRARY, "malloc_trim"):
        _LIBRARY.malloc_trim(0)
