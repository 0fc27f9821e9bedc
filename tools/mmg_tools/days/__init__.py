"""Three sensors worn for days on a scripted clock, in minutes: the live run itself, and nothing waits."""
