"""Recordings of sound: through libsndfile where it reads the file and tells the truth about it, else through PyAV."""
