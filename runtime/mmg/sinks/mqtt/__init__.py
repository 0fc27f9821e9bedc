"""``mqtt://HOST[:PORT]/TOPIC`` and ``mqtts://``: a broker, for programs and for Home Assistant."""
