"""mmg as a service of systemd: its unit, what that allows (``devices``, ``network``, ``places``), and its pulse."""
