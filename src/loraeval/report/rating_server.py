"""A page for blind choices, on this machine only.

Bound to the loopback address; every request needs the right Host header (a foreign page that
resolves its name to 127.0.0.1 has another) and, but for the page without its data, the session's
random token in a header that a foreign page cannot set. Images are asked for by the session's
random names, so that nothing on the page tells candidate from baseline.
"""

from __future__ import annotations

import html
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from loraeval.errors import ImageError, MissingExtraError
from loraeval.images.reading import read_image
from loraeval.outside import json as strict_json
from loraeval.report.ratings import Choice, Pair, Rating, rating_of, write_ratings

HOST = "127.0.0.1"
MAX_BODY_BYTES, MAX_HEADER_BYTES = 4096, 8192
MAX_CONNECTIONS, IDLE_SECONDS = 32, 20
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE_HEADERS = [
    ("Content-Security-Policy", POLICY),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]
STATIC = {
    "/": ("rate.html", "text/html; charset=utf-8"),
    "/rate.js": ("rate.js", "text/javascript"),
    "/rate.css": ("rate.css", "text/css"),
}
_LORA_TAG = re.compile(r"<[a-z]+:[^<>]*>")


class RatingSession:
    """Pairs, what was chosen, and where it is stored; safe for several threads.

    ``locate`` finds a pair's image files: (candidate's, baseline's). ``prompts`` gives the prompts'
    texts by id, which are shown with the pairs.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        ratings: dict[str, Rating],
        store: Path,
        locate: Callable[[Pair], tuple[Path | None, Path | None]],
        summary: Callable[[], str],
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.pairs = list(pairs)
        self.ratings = ratings
        self._store = store
        self._locate = locate
        self._summary = summary
        self._prompts = prompts or {}
        self._lock = threading.Lock()
        self._names: dict[str, Path] = {}
        self._history: list[str] = []

    def state(self) -> dict[str, Any]:
        """Return what the page shows next: a pair by random image names, or the end."""
        with self._lock:
            left = [pair for pair in self.pairs if pair.key not in self.ratings]
            done = len(self.pairs) - len(left)
            base = {"done": done, "total": len(self.pairs), "undo": bool(self._history)}
            for pair in left:
                candidate, baseline = self._locate(pair)
                if candidate is None or baseline is None:
                    continue
                sides = (baseline, candidate) if pair.swapped else (candidate, baseline)
                left_name, right_name = (self._name(path) for path in sides)
                text = _LORA_TAG.sub("", self._prompts.get(pair.candidate.prompt_id, "")).strip()
                shown = {"left": left_name, "right": right_name, "prompt": text}
                return {**base, "pair": pair.key, **shown}
            return {**base, "pair": None, "summary": self._summary()}

    def choose(self, key: str, side: str) -> bool:
        """Store a choice (``left``, ``right``, ``same``, or ``undo``); False for an unknown one."""
        with self._lock:
            if side == "undo":
                if not self._history:
                    return False
                del self.ratings[self._history.pop()]
            else:
                pair = next((pair for pair in self.pairs if pair.key == key), None)
                if pair is None or side not in ("left", "right", "same"):
                    return False
                choice: Choice = "same"
                if side != "same":
                    choice = "candidate" if (side == "left") != pair.swapped else "baseline"
                self.ratings[key] = rating_of(pair, choice)
                self._history.append(key)
            write_ratings(self._store, self.ratings)
            return True

    def image(self, name: str) -> bytes | None:
        """Return the image of a random name as PNG pixels without metadata; None if unknown."""
        path = self._names.get(name)
        return None if path is None else _png(path)

    def _name(self, path: Path) -> str:
        name = secrets.token_urlsafe(9)
        self._names[name] = path
        return name


class RatingServer:
    """The server of one session, on a free port of the loopback address unless one is given.

    waitress serves: it bounds connections, their idle time, headers and bodies. Raises ``OSError``
    for a port that cannot be used, ``MissingExtraError`` where waitress is not installed.
    """

    def __init__(self, session: RatingSession, port: int = 0) -> None:
        try:
            import waitress
        except ImportError as error:
            raise MissingExtraError("waitress", "rate", "loraeval rate") from error
        self.session = session
        self._server = waitress.create_server(
            self._application,
            host=HOST,
            port=port,
            ident=None,
            threads=4,
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=IDLE_SECONDS // 2,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
        )
        self.server_address = (HOST, int(self._server.effective_port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server_close()

    @property
    def address(self) -> str:
        """The page's address. The token stands behind a ``#``: it is in no request line, no log of
        a proxy and no Referer.
        """
        return f"http://{HOST}:{self.server_address[1]}/#token={self.session.token}"

    @property
    def hosts(self) -> set[str]:
        """The Host headers that are answered."""
        port = self.server_address[1]
        return {f"{HOST}:{port}", f"localhost:{port}"}

    def serve_forever(self) -> None:
        """Answer until ``shutdown``, or Ctrl-C, which comes through."""
        self._server.run()

    def shutdown(self) -> None:
        """End ``serve_forever`` from another thread."""
        self._server.trigger.pull_trigger(self.server_close)

    def server_close(self) -> None:
        """Close every connection and the port."""
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        self._server.task_dispatcher.shutdown(timeout=1)
        self._server.close()

    def _application(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        status, kind, content = self._answer(environ)
        headers = [("Content-Length", str(len(content))), *SAFE_HEADERS]
        if kind:
            headers.append(("Content-Type", kind))
        start(f"{status.value} {status.phrase}", headers)
        return [content]

    def _answer(self, environ: dict[str, Any]) -> tuple[HTTPStatus, str, bytes]:
        """Return status, type and content for one request."""
        path, method = str(environ["PATH_INFO"]), environ["REQUEST_METHOD"]
        if environ.get("HTTP_HOST") not in self.hosts:
            return HTTPStatus.FORBIDDEN, "", b""
        if method == "GET" and path in STATIC:  # nothing secret in them
            name, kind = STATIC[path]
            return HTTPStatus.OK, kind, _static(name)
        given = str(environ.get("HTTP_X_LORAEVAL_TOKEN", "")).encode()
        if not secrets.compare_digest(given, self.session.token.encode()):
            return HTTPStatus.FORBIDDEN, "", b""
        if method == "GET" and path == "/state":
            return self._state()
        if method == "GET" and path.startswith("/image/"):
            content = self.session.image(path.removeprefix("/image/"))
            if content is not None:
                return HTTPStatus.OK, "image/png", content
        if method == "POST" and path == "/choice":
            return self._choose(environ["wsgi.input"].read(MAX_BODY_BYTES))
        return HTTPStatus.NOT_FOUND, "", b""

    def _state(self) -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, "application/json", json.dumps(self.session.state()).encode()

    def _choose(self, body: bytes) -> tuple[HTTPStatus, str, bytes]:
        try:
            data = strict_json.loads(body.decode())
            known = self.session.choose(str(data["pair"]), str(data["side"]))
        except (ValueError, TypeError, KeyError):
            known = False
        return self._state() if known else (HTTPStatus.BAD_REQUEST, "", b"")


def doorway(folder: Path, address: str) -> Path:
    """Write a page for this user alone that leads a browser to ``address``; return it.

    A browser that is started with an address has it in its list of arguments, which every user of
    the machine can read; it gets this file's name instead.
    """
    page = folder / "open.html"
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">\n')
    return page


def _static(name: str) -> bytes:
    return (files("loraeval.report") / "static" / name).read_bytes()


def _png(path: Path) -> bytes | None:
    import io

    from PIL import Image

    try:
        pixels, _ = read_image(path)
    except ImageError:
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
