"""The live page: who runs ``mmg-run --page`` sees in a browser what is decided, and how its sensors are.

``server`` serves it on a thread of its own, within the limits of ``connections``; ``access`` says who may look, and
``routes`` what is where. ``state`` is the run as the page shows it, and ``hub`` hands it to those who look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmg.errors import BackendUnavailable

if TYPE_CHECKING:
    from mmg.sinks import Sink
    from mmg.sinks.event import About
    from mmg.sinks.url import SinkUrl


def open_page(url: SinkUrl, about: About, report: Callable[[str], None]) -> Sink:
    """Serve the page there. Raises ConfigError, BackendUnavailable."""
    check_page(url)
    from mmg.sinks.page.server import Page

    return Page(url, about, report)


def check_page(url: SinkUrl) -> None:
    """Raises ConfigError for a URL of no page, BackendUnavailable without its library."""
    try:
        import microdot  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable("microdot, which the page needs,", "microdot", "segno", "prometheus-client") from error
    from mmg.sinks.page.server import check_url

    check_url(url)
