"""The server: for this machine alone, whatever anybody sends, however slowly."""

import json
import random
import socket
import threading
import time
from http.client import HTTPConnection

import pytest
from stages import GOOD, stage

from capsnet_dist.commands import demo as command
from capsnet_dist.commands.main import main
from capsnet_dist.demo import handler, server
from capsnet_dist.demo.page import assemble
from capsnet_dist.demo.requests import MAX_BODY

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def running():
    """A server that answers, in a thread."""
    with server.Server([stage()], assemble(), 0) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join(10)


def send(one, method, path, body=None, **headers):
    """Status, headers and content of an answer."""
    connection = HTTPConnection("127.0.0.1", one.port, timeout=20)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def post(one, name="look", **headers):
    return send(one, "POST", f"/{name}", json.dumps(GOOD[name]), **(JSON | headers))


def raw(one, data, wait=5.0):
    """What comes back for some bytes, until the server closes or nothing more comes."""
    with socket.create_connection(("127.0.0.1", one.port), timeout=wait) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        found = b""
        while piece := client.recv(65536):
            found += piece
        return found


def test_the_page_is_one_file_that_asks_nobody_else(running):
    status, headers, html = send(running, "GET", "/")
    assert status == 200 and headers.get_content_type() == "text/html"
    assert b"http:" not in html.replace(b"http://www.w3.org", b"") and b"https:" not in html and b" src=" not in html
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy


@pytest.mark.parametrize("name", GOOD)
def test_every_request_is_answered(running, name):
    status, headers, content = post(running, name)
    assert status == 200 and headers["Cache-Control"] == "no-store" and "error" not in json.loads(content)


def test_it_listens_on_this_machine_alone(running):
    assert running.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil:1", "", "0.0.0.0", "[::1]"]
)
def test_a_foreign_host_is_refused(running, host):
    assert send(running, "GET", "/about", Host=host)[0] == 403
    assert post(running, Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "localhost:1234"])  # the last one through a tunnel
def test_own_names_are_served(running, host):
    assert post(running, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", "file://"]
)
def test_a_foreign_origin_is_refused(running, origin):
    assert post(running, Origin=origin)[0] == 403


def test_another_site_may_not_ask(running):
    assert post(running, Sec_Fetch_Site="cross-site")[0] == 403
    assert post(running, **{"Content-Type": "text/plain"})[0] == 415  # which a form could send without asking


def test_sizes_are_bounded_before_anything_is_read(running):
    head = b"POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert b" 413 " in raw(running, head + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))
    for sizes in (
        b"",
        b"Content-Length: -1\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: x\r\n",
    ):
        assert b" 411 " in raw(running, head + sizes + b"\r\n")
    assert b" 411 " in raw(running, head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b" 400 " in raw(running, head + b"Content-Length: 20\r\n\r\n{}")
    assert b" 414 " in raw(running, b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n")
    assert b" 431 " in raw(running, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n")


def test_what_is_not_there_is_not_found(running):
    assert send(running, "GET", "/look")[0] == 404 and send(running, "GET", "/../page.html")[0] == 404
    assert send(running, "POST", "/about", "{}", **JSON)[0] == 404
    assert send(running, "PUT", "/look")[0] == 501


def test_a_request_that_is_none_is_refused_in_one_line(running):
    status, _, content = send(running, "POST", "/look", '{"run": 7}', **JSON)
    assert status == 400 and json.loads(content)["error"] == "run must be an integer from 0 to 0; got 7."


def test_a_mistake_of_ours_ends_one_request_alone(running, monkeypatch, capsys):
    def fail(*given):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(running.stages[0], "see", fail)
    status, _, content = post(running)
    assert status == 500 and "out of memory" in json.loads(content)["error"]
    monkeypatch.undo()
    assert post(running)[0] == 200 and "out of memory" in capsys.readouterr().err


def test_it_survives_garbage(running):
    generator = random.Random(0)
    good = b"POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    for _ in range(100):
        data = bytearray(good if generator.random() < 0.7 else generator.randbytes(80))
        for _ in range(generator.randint(1, 8)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        raw(running, bytes(data))
    assert post(running)[0] == 200


def test_a_slow_client_stalls_nobody_and_is_left_in_the_end(running, monkeypatch):
    monkeypatch.setattr(handler, "PATIENCE", 0.6)
    slow = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(5)]
    for number, client in enumerate(slow):
        client.sendall(b"POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"[: 10 * (number + 1)])
    begun = time.monotonic()
    assert post(running)[0] == 200
    assert time.monotonic() - begun < 0.5
    for client in slow:
        end = time.monotonic() + 10
        while time.monotonic() < end:  # a byte now and then gains no time
            try:
                client.sendall(b"x")
                time.sleep(0.1)
            except OSError:
                break
        assert time.monotonic() < end
        client.close()


def test_more_clients_than_threads_are_turned_away_and_nobody_else(running):
    first = HTTPConnection("127.0.0.1", running.port, timeout=20)
    first.request("GET", "/about")
    first.getresponse().read()
    crowd = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(server.CONNECTIONS + 3)]
    crowd[-1].settimeout(10)
    assert crowd[-1].recv(1) == b""  # closed
    first.request("GET", "/about")
    assert first.getresponse().read()
    for client in [*crowd, first]:
        client.close()


def test_the_port_is_named_when_the_wanted_one_is_in_use(running, monkeypatch, capsys):
    started: list[int] = []
    monkeypatch.setattr(server.Server, "serve_forever", lambda one: started.append(one.port))
    with server.Server(running.stages, running.page, running.port) as other:
        assert other.about() == running.about()
        command._serve(other, running.port, open=False)
        assert other.port != running.port and started == [other.port]
    out, err = capsys.readouterr()
    assert f"http://127.0.0.1:{other.port}" in out and f"port {running.port} is in use: {other.port} was taken" in err


def test_ctrl_c_ends_it_well(running, monkeypatch):
    def interrupted(one):
        raise KeyboardInterrupt

    monkeypatch.setattr(server.Server, "serve_forever", interrupted)
    with server.Server(running.stages, running.page, 0) as other:
        command._serve(other, 0, open=False)


@pytest.mark.parametrize("words", [[], ["a", "b", "c"]])
def test_it_takes_one_run_or_two(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["demo", *words])
    assert end.value.code == 2 and "demo takes one run, or two" in capsys.readouterr().err
