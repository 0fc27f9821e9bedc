"""The page: what ``figures`` says, asked for again every two seconds; and the bundles for devices that fetch them."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, cast

from microdot.microdot import Microdot, Request, Response
from mmg.bundle.index import INDEX
from mmg.sinks.page.access import ONWARD
from mmg.sinks.page.connections import Connections, problem, read_asked, start_serving, stop_serving
from mmg.sinks.page.listening import Listening
from mmg_device_profiles.regular_file import open_regular

from mmg_fleet.figures import encode
from mmg_fleet.offered import files_of, read_offers

ASSETS = Path(__file__).parent / "assets"
TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "rows.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
BUNDLES = "/bundles/"
BLOCK_BYTES, KERNEL_BYTES = 64 << 10, 512 << 10
MOST_FETCHING = 8
"""Devices that fetch at once: of more the oldest goes, and comes again. The other connections are for the page."""
FETCHING_S, LEAST_BYTES_S = 30.0, 16 << 10
"""So long a device may take to fetch, and so much longer for so many bytes."""
LOOK_S = 0.2
ENDING_S = 0.5
ERRORS = {
    404: "nothing is here",
    405: "not with this method",
    413: "the body is too large",
    500: "mmg-fleet failed here",
}


class Page:
    """Serves on a thread of its own until it is closed.

    figures: called with the run and the number that a page has seen, gives what is shown since. profile: gives a
    wearable's report. bundles: the folder of ``index.json`` and the bundles that it names, which anyone may fetch; None
    where there is none.
    """

    def __init__(
        self,
        listening: Listening,
        figures: Callable[[str, int], dict[str, Any]],
        profile: Callable[[str], bytes | None],
        bundles: Path | None,
    ) -> None:
        self._listening, self._figures, self._profile, self._bundles = listening, figures, profile, bundles
        self._cookie = f"mmg-fleet-{listening.port}"
        self._app = app = Microdot()
        app.get("/")(self._index)
        app.get("/fleet.json")(self._fleet)
        app.get("/profile.json")(self._report)
        app.get(f"{BUNDLES}<name>")(self._bundle)
        app.get("/<asset>")(self._asset)
        for status, why in ERRORS.items():
            app.errorhandler(status)(_answering(status, why))
        self._connections = Connections(app, self._answer, lambda _: None, lambda: None)
        self._fetching: dict[asyncio.WriteTransport, None] = {}  # the oldest first
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="mmg-fleet page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._ended.set()
        self._thread.join(3 * ENDING_S)

    async def _serve(self) -> None:
        server = await start_serving(self._connections.serve, self._listening.socket)
        while not self._ended.is_set():
            await asyncio.sleep(LOOK_S)
        await stop_serving(server, ENDING_S)

    async def _answer(self, request: Request) -> Response:
        refusal = None
        if not self._is_for_devices(request):
            refusal = self._listening.access.refusal(read_asked(request, self._cookie))
        if refusal:
            response = problem(refusal.status, refusal.why)
        else:
            response = await self._app.dispatch_request(request)
        response.is_head = request.method == "HEAD"
        return response

    def _is_for_devices(self, request: Request) -> bool:
        """Signed, and for whoever asks: a token would have to be on every device."""
        return request.method in ("GET", "HEAD") and request.path.startswith(BUNDLES)

    async def _index(self, request: Request) -> Response:
        if "token" not in request.args:
            return _file("index.html")
        response = Response(ONWARD, 200, {"Content-Type": TYPES["index.html"]})
        if token := self._listening.access.token:
            response.headers["Set-Cookie"] = f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Strict"
        return response

    async def _asset(self, _request: Request, asset: str) -> Response:
        return _file(asset) if asset in TYPES else problem(404, ERRORS[404])

    async def _fleet(self, request: Request) -> Response:
        text = request.args.get("after", "0")
        if not text.isdecimal() or len(text) > 15:
            return problem(HTTPStatus.BAD_REQUEST, "after is a number that an answer gave")
        figures = await asyncio.to_thread(self._figures, request.args.get("run", ""), int(text))
        return Response(encode(figures), 200, {"Content-Type": "application/json"})

    async def _report(self, request: Request) -> Response:
        report = await asyncio.to_thread(self._profile, request.args.get("topic", ""))
        return Response(report, 200, {"Content-Type": "application/json"}) if report else problem(404, ERRORS[404])

    async def _bundle(self, request: Request, name: str) -> Response:
        try:
            stream = self._open_bundle(name)
        except (OSError, ValueError):
            return problem(404, ERRORS[404])
        transport = request.sock[1].transport
        # A viewer's is small, and a network's round trip apart that would be slow.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        size = os.fstat(stream.fileno()).st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        if request.method == "HEAD":
            stream.close()
            return Response(b"", 200, headers)
        return Response(cast("bytes", self._blocks(stream, size, transport)), 200, headers)

    def _open_bundle(self, name: str) -> BinaryIO:
        """The index, or a file that it names; through no link. Raises OSError and ValueError for anything else."""
        if self._bundles is None or "/" in name:
            raise ValueError(f"{name!r} is not offered")
        if name != INDEX and name not in files_of(read_offers(self._bundles)):
            raise ValueError(f"{name!r} is not offered")
        return open_regular(self._bundles / name, links=False)

    async def _blocks(self, stream: BinaryIO, size: int, transport: asyncio.WriteTransport) -> AsyncIterator[bytes]:
        """What a file holds, for as long as its reader may take."""
        self._fetching[transport] = None
        while len(self._fetching) > MOST_FETCHING:
            oldest = next(iter(self._fetching))
            del self._fetching[oldest]
            oldest.abort()
        within_s = FETCHING_S + size / LEAST_BYTES_S
        too_late = asyncio.get_running_loop().call_later(within_s, transport.abort)
        try:
            with stream:
                while block := stream.read(BLOCK_BYTES):
                    yield block
        finally:
            too_late.cancel()
            self._fetching.pop(transport, None)


def _file(name: str) -> Response:
    return Response((ASSETS / name).read_bytes(), 200, {"Content-Type": TYPES[name]})


def _answering(status: int, why: str) -> Callable[[Request], Any]:
    async def answer(_request: Request) -> Response:
        return problem(status, why)

    return answer
