"""Ray started on this host alone, or a running cluster joined."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from loraeval.errors import RenderError

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 5.0
"""How long a cluster's address may take to answer."""


def start_here(ray: Any, workers: int) -> None:
    """Start Ray on this host alone, or refuse where it would listen beyond it.

    A Ray that may form a cluster replaces 127.0.0.1 by the host's outer address and then listens
    on all of them. Its switch for that (``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER``) is read once, when
    Ray is imported; so the constant behind it is held down while Ray starts.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address="local", num_cpus=workers, _node_ip_address=LOOPBACK,
            include_dashboard=False, log_to_driver=False, configure_logging=False,
        )  # fmt: skip
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
    found = ray.util.get_node_ip_address()
    if found != LOOPBACK:
        ray.shutdown()
        raise RenderError(
            f"expected Ray {ray.__version__} to listen on {LOOPBACK} alone, it took {found}: "
            "leave ray out (several GPUs of one machine need none), or start a cluster yourself"
        )


def join(ray: Any, address: str) -> None:
    """Join a running cluster; ``RenderError`` where none answers within ``ANSWER_SECONDS``."""
    wanted = (
        f"expected a running Ray cluster at {address!r} (auto, HOST:PORT or ray://HOST:PORT), "
        "{}: start one with 'ray start --head', or use --ray local"
    )
    if address != "auto":
        # Ray itself waits for a minute or more, and then ends the process.
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise RenderError(wanted.format("found no host and port in it"))
        try:
            socket.create_connection((host, port), ANSWER_SECONDS).close()
        except OSError as error:
            raise RenderError(wanted.format(f"nothing answers there ({error})")) from error
    try:
        ray.init(
            address=address, include_dashboard=False, log_to_driver=False, configure_logging=False
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RenderError(wanted.format(f"Ray says: {first.rstrip('.')}")) from error
