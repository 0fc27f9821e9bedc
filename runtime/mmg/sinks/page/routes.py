"""What is answered at which path."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import cast

from microdot.microdot import Microdot, Request, Response

from mmg.errors import MmgError
from mmg.runs.controls import Controls
from mmg.sinks.page.access import ONWARD, Access
from mmg.sinks.page.connections import problem, read_asked
from mmg.sinks.page.hub import Hub, Viewer
from mmg.sinks.page.metrics import load_library, metrics_text

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("page.js", "words.js", "link.js", "ribbon.js", "sensors.js", "controls.js")
TYPES = {
    "index.html": "text/html; charset=utf-8",
    **dict.fromkeys(SCRIPTS, "text/javascript; charset=utf-8"),
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
ERRORS = {404: "nothing is here", 405: "not with this method", 413: "the body is too large", 500: "mmg failed here"}


class Routes:
    """The answers, for the hub's state and what may be asked of the run. port: makes the cookie's name."""

    def __init__(self, hub: Hub, access: Access, port: int, controls: Controls | None) -> None:
        self._hub, self._access, self._controls = hub, access, controls
        self._cookie = f"mmg-{port}"
        self.app = app = Microdot()
        app.get("/")(self._page)
        app.get("/events")(self._events)
        app.get("/decision")(self._decision)
        app.get("/health")(self._health)
        app.get("/metrics")(self._metrics)
        for name in ("mark", "record", "pause", "teach"):
            app.post(f"/do/{name}")(self._doing(name))
        app.get("/<asset>")(self._asset)  # the last: the first that fits is taken
        for status, why in ERRORS.items():
            app.errorhandler(status)(_answering(status, why))
        self._viewers: dict[Request, Viewer] = {}

    async def answer(self, request: Request) -> Response:
        """The response, refusals too."""
        refusal = self._access.refusal(read_asked(request, self._cookie))
        if refusal:
            response = problem(refusal.status, refusal.why)
        else:
            response = await self.app.dispatch_request(request)
        if response.status_code >= HTTPStatus.BAD_REQUEST and response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            self._hub.refuse()
        response.is_head = request.method == "HEAD"
        return response

    def left(self, request: Request) -> None:
        """Its connection has ended."""
        viewer = self._viewers.pop(request, None)
        if viewer:
            self._hub.leave(viewer)

    async def _page(self, request: Request) -> Response:
        if "token" not in request.args:
            return _file("index.html")
        is_foreign = request.headers.get("Sec-Fetch-Site", "none") in ("cross-site", "same-site")
        response = Response(ONWARD, 200, {"Content-Type": TYPES["index.html"]})
        if not is_foreign:
            response = Response("", HTTPStatus.SEE_OTHER, {"Location": "/"})
        if self._access.token:
            cookie = f"{self._cookie}={self._access.token}; Path=/; HttpOnly; SameSite=Strict"
            response.headers["Set-Cookie"] = cookie
        return response

    async def _asset(self, _request: Request, asset: str) -> Response:
        return _file(asset) if asset in TYPES and (ASSETS / asset).is_file() else problem(404, ERRORS[404])

    async def _events(self, request: Request) -> Response:
        viewer, first = self._hub.join(request.sock[1].transport.abort)
        self._viewers[request] = viewer
        return Response(cast("bytes", _stream(viewer, first)), 200, {"Content-Type": "text/event-stream"})

    async def _decision(self, _request: Request) -> Response:
        newest = self._hub.read(lambda state: state.newest)
        return _json(newest) if newest else Response("", HTTPStatus.NO_CONTENT)

    async def _health(self, _request: Request) -> Response:
        ills = self._hub.read(lambda state: state.ills())
        status = HTTPStatus.SERVICE_UNAVAILABLE if ills else HTTPStatus.OK
        return _json(json.dumps({"status": "unwell" if ills else "ok", "reasons": ills}), status)

    async def _metrics(self, _request: Request) -> Response:
        try:
            load_library()  # not with the hub's lock, for which the run's side may wait
            text = self._hub.read(metrics_text)
        except MmgError as error:
            return problem(HTTPStatus.NOT_IMPLEMENTED, str(error))
        return Response(text, 200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def _doing(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def do(request: Request) -> Response:
            if self._controls is None:
                return problem(HTTPStatus.CONFLICT, "this run takes no orders")
            try:
                asked = json.loads(request.body or b"")
            except (ValueError, RecursionError):
                return problem(HTTPStatus.BAD_REQUEST, "the body is no JSON")
            try:
                return _json(json.dumps({"ok": True, **self._controls.do(name, asked)}))
            except MmgError as error:
                return problem(HTTPStatus.CONFLICT, str(error))

        return do


async def _stream(viewer: Viewer, first: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    for piece in first:
        yield piece
    async for frames in viewer.frames():
        yield frames


def _file(name: str) -> Response:
    return Response((ASSETS / name).read_bytes(), 200, {"Content-Type": TYPES[name]})


def _json(text: str, status: int = 200) -> Response:
    return Response(f"{text}\n", status, {"Content-Type": "application/json"})


def _answering(status: int, why: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return problem(status, why)

    return answer
