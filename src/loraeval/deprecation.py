"""Names that go: said for a release, gone in the next, and no later than promised."""

from __future__ import annotations

import warnings


def deprecated(what: str, *, removed_in: str, instead: str, stacklevel: int = 3) -> None:
    """Warn that ``what`` goes with release ``removed_in`` and what to use ``instead``.

    Raises ``RuntimeError`` once that release is due: then the name must be removed, and the tests
    that still use it fail until it is. Versions are dotted numbers.

    >>> from warnings import catch_warnings
    >>> with catch_warnings(record=True, action="always") as said:
    ...     deprecated("loraeval.old()", removed_in="99.0", instead="loraeval.new()")
    >>> str(said[0].message)
    'loraeval.old() is removed in loraeval 99.0; use loraeval.new()'
    """
    from loraeval import __version__

    if _parts(__version__) >= _parts(removed_in):
        raise RuntimeError(f"{what} was to be removed in loraeval {removed_in}: remove it")
    warnings.warn(
        f"{what} is removed in loraeval {removed_in}; use {instead}",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
