"""A page for blind choices, on this machine only.

Bound to the loopback address; every request needs the session's random token, the right Host
header (a foreign page that resolves its name to 127.0.0.1 has another) and, to store a choice,
the token in a header that a foreign page cannot set. Images are asked for by the session's
random names, so that nothing on the page tells candidate from baseline.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loraeval.errors import ImageError
from loraeval.images.reading import read_image
from loraeval.outside import json as strict_json
from loraeval.report.ratings import Choice, Pair, Rating, rating_of, write_ratings

HOST = "127.0.0.1"
MAX_BODY_BYTES = 4096
POLICY = (
    "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class RatingSession:
    """Pairs, what was chosen, and where it is stored; safe for several threads.

    ``locate`` finds a pair's image files: (candidate's, baseline's).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        ratings: dict[str, Rating],
        store: Path,
        locate: Callable[[Pair], tuple[Path | None, Path | None]],
        summary: Callable[[], str],
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.pairs = list(pairs)
        self.ratings = ratings
        self._store = store
        self._locate = locate
        self._summary = summary
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
                return {**base, "pair": pair.key, "left": left_name, "right": right_name}
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


class RatingServer(ThreadingHTTPServer):
    """The server of one session, on a free port of the loopback address unless one is given."""

    daemon_threads = True

    def __init__(self, session: RatingSession, port: int = 0) -> None:
        self.session = session
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """The page's address with the session's token."""
        return f"http://{HOST}:{self.server_address[1]}/?token={self.session.token}"

    @property
    def hosts(self) -> set[str]:
        """The Host headers that are answered."""
        port = self.server_address[1]
        return {f"{HOST}:{port}", f"localhost:{port}"}


class _Handler(BaseHTTPRequestHandler):
    server: RatingServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the page, its files, the next pair and images."""
        parts = urlsplit(self.path)
        if parts.path in ("/rate.js", "/rate.css"):  # nothing secret in them
            kind = "text/javascript" if parts.path.endswith("js") else "text/css"
            self._guarded(lambda: self._answer(_static(parts.path[1:]), kind), needs_token=False)
        elif parts.path == "/":
            self._guarded(lambda: self._answer(_static("rate.html"), "text/html; charset=utf-8"))
        elif parts.path == "/state":
            self._guarded(self._state)
        elif parts.path.startswith("/image/"):
            self._guarded(lambda: self._image(parts.path.removeprefix("/image/")))
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Store a choice."""
        self._guarded(self._choose, header_only=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing: choices are no one's to read over the shoulder."""

    def _guarded(
        self, answer: Callable[[], None], *, needs_token: bool = True, header_only: bool = False
    ) -> None:
        given = self.headers.get("X-Loraeval-Token", "")
        if not given and not header_only:
            given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        if self.headers.get("Host") not in self.server.hosts or (
            needs_token and not secrets.compare_digest(given.encode(), self._token())
        ):
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        answer()

    def _token(self) -> bytes:
        return self.server.session.token.encode()

    def _state(self) -> None:
        self._answer(json.dumps(self.server.session.state()).encode(), "application/json")

    def _image(self, name: str) -> None:
        content = self.server.session.image(name)
        if content is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._answer(content, "image/png")

    def _choose(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            data = strict_json.loads(self.rfile.read(int(length)).decode())
            known = self.server.session.choose(str(data["pair"]), str(data["side"]))
        except (ValueError, TypeError, KeyError):
            known = False
        if known:
            self._state()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self._headers()
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self._headers()

    def _headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()


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
