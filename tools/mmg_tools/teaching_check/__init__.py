"""How well taught activities are known: real recordings, the starter's encoders, and several ways to compare."""
