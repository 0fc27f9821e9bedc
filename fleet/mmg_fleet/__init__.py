"""Many wearables at one broker: who is there, what each runs, and how it does.

``listener`` hears them, ``messages`` says what they may send, ``wearables`` what is known of each, ``figures`` what
follows from it, ``store`` keeps it, and ``page`` shows it.
"""
