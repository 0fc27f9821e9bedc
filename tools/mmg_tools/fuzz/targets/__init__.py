"""What each kind of foreign bytes is given to, and what must hold of it."""
