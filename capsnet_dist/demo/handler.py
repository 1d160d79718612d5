"""One client of the server: who may ask, how much, and how slowly."""

import io
import re
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol, cast

from typing_extensions import override

from capsnet_dist.demo.page import Page
from capsnet_dist.demo.requests import MAX_BODY
from capsnet_dist.errors import UserError
from capsnet_dist.screen.console import say
from capsnet_dist.text import reason, to_json

PATIENCE = 30.0
"""Seconds for a request, from the end of the one before to the last byte of its own."""
HOSTS = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
"""What this machine may be called: another name leads here when a foreign page has let it (DNS rebinding)."""


class Refused(Exception):
    """A request that is not answered, and the status that says why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answering(Protocol):
    """A server that has a page, and answers what it asks."""

    page: Page

    def about(self) -> dict[str, Any]:
        """What the page must know before anything is drawn."""
        ...

    def answer(self, name: str, body: bytes) -> dict[str, Any]:
        """What a request of the page comes to."""
        ...

    def knows(self, name: str) -> bool:
        """Whether there is such a request."""
        ...


class _Patient(io.RawIOBase):
    """What a client sends, until a moment, however slowly it comes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.deadline = connection, 0.0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"  # a connection stays open: a slider asks many times a second
    server_version, sys_version = "capsnet_dist", ""
    disable_nagle_algorithm = True

    @override
    def setup(self) -> None:
        super().setup()
        self.answering: Answering = cast(Any, self.server)
        self._patient = _Patient(self.connection)
        self.rfile = io.BufferedReader(self._patient)

    @override
    def handle_one_request(self) -> None:
        self._patient.deadline = time.monotonic() + PATIENCE
        super().handle_one_request()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed of requests."""

    def do_GET(self) -> None:
        """The page, and what it must know."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """What the page asks while somebody draws."""
        self._answer(self._post)

    def _answer(self, give: Callable[[], tuple[str, bytes]]) -> None:
        """Send what a request comes to, or why it comes to nothing; a mistake of ours ends this request alone."""
        try:
            self._check_who_asks()
            kind, content = give()
            status = HTTPStatus.OK
        except UserError as error:
            status, kind, content = HTTPStatus.BAD_REQUEST, *_sorry(str(error))
        except Refused as refused:
            self.close_connection = True  # its body was not read
            status, kind, content = refused.status, *_sorry(str(refused))
        except (OSError, TimeoutError):  # the client is gone, or too slow
            raise
        except Exception as error:
            say(f"{self.path:.100} failed: {reason(error)}.")
            status, kind, content = HTTPStatus.INTERNAL_SERVER_ERROR, *_sorry(reason(error))
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(content))), *self._headers()):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _headers(self) -> list[tuple[str, str]]:
        return [
            ("Content-Security-Policy", self.answering.page.policy),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            *([("Connection", "close")] if self.close_connection else []),
        ]

    def _check_who_asks(self) -> None:
        """Only a page that this server gave may ask."""
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        if len(hosts) != 1 or not HOSTS.fullmatch(hosts[0]):
            place = f"http://localhost:{self.connection.getsockname()[1]}"
            raise Refused(HTTPStatus.FORBIDDEN, f"This page is for this machine: open it as {place}.")
        if origins not in ([], [f"http://{hosts[0]}"]):
            raise Refused(HTTPStatus.FORBIDDEN, "Another page may not ask.")
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Refused(HTTPStatus.FORBIDDEN, "Another site may not ask.")

    def _get(self) -> tuple[str, bytes]:
        match self.path.partition("?")[0]:
            case "/":
                return "text/html; charset=utf-8", self.answering.page.html
            case "/about":
                return "application/json", to_json(self.answering.about()).encode()
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _post(self) -> tuple[str, bytes]:
        name = self.path.removeprefix("/")
        if not self.answering.knows(name):
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such request.")
        if self.headers.get_content_type() != "application/json":  # which no form of another page can send
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A request must be application/json.")
        return "application/json", to_json(self.answering.answer(name, self._body())).encode()

    def _body(self) -> bytes:
        sizes = self.headers.get_all("Content-Length", [])
        if len(sizes) != 1 or not re.fullmatch("[0-9]{1,12}", sizes[0]) or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "A request must say how many bytes it has.")
        if (size := int(sizes[0])) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request has at most {MAX_BODY:,} bytes.")
        body = self.rfile.read(size)
        if len(body) < size:
            raise Refused(HTTPStatus.BAD_REQUEST, "The request was cut short.")
        return body


def _sorry(message: str) -> tuple[str, bytes]:
    return "application/json", to_json({"error": message}).encode()
