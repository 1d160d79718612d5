"""The server of the page: Python's own, for this machine alone."""

import errno
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from typing import Any

from typing_extensions import override

from capsnet_dist.demo.answers import ANSWERS, about
from capsnet_dist.demo.handler import Handler
from capsnet_dist.demo.page import Page
from capsnet_dist.demo.stage import Stage
from capsnet_dist.screen.console import tolerated

ADDRESS = "127.0.0.1"
CONNECTIONS = 32
"""How many clients are served at once: each has a thread, which waits for the network most of the time."""

IDLE = 1.0  # seconds without a question, after which nobody is drawing


class Server(ThreadingHTTPServer):
    """Gives the page to browsers on this machine, and answers what it asks.

    Args:
        stages: The networks.
        page: The page.
        port: Where it is wanted; another one is taken where that is in use.
    """

    daemon_threads = True  # an open connection does not keep the program alive
    block_on_close = False
    request_queue_size = 2 * CONNECTIONS

    def __init__(self, stages: Sequence[Stage], page: Page, port: int) -> None:
        self.stages, self.page = stages, page
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            super().__init__((ADDRESS, 0), Handler)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="network")  # in turn: none has threads to spare
        self._asked, self._further = 0.0, self.worker.submit(lambda: True)

    @override
    def server_bind(self) -> None:
        self.socket.bind(self.server_address)  # without asking anybody for the name of this machine
        self.server_address = self.socket.getsockname()
        self.port: int = self.server_address[1]  # the one that was taken
        self.server_name, self.server_port = ADDRESS, self.port

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    @override
    def service_actions(self) -> None:
        """Twice a second: while nobody asks, the networks look at more test images."""
        if time.monotonic() > self._asked + IDLE and self._further.done() and self._further.result():
            self._further = self.worker.submit(self._look_further)

    def _look_further(self) -> bool:
        with tolerated("no more test images are looked at"):
            return any([stage.look_further() for stage in self.stages])  # a list: each of them looks
        return False

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""

    @override
    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.worker.shutdown(wait=False, cancel_futures=True)

    def answer(self, name: str, body: bytes) -> dict[str, Any]:
        """What a request of the page comes to; the networks answer one at a time, first come, first served.

        Raises:
            UserError: the request is none.
        """
        self._asked = time.monotonic()
        read, answered = ANSWERS[name]
        return self.worker.submit(lambda: answered(read(body, self.stages), self.stages)).result()

    def knows(self, name: str) -> bool:
        """Whether there is such a request."""
        return name in ANSWERS

    def about(self) -> dict[str, Any]:
        """What the page must know before anything is drawn."""
        return self.worker.submit(about, self.stages).result()
