"""A small corpus of music known by construction: labels are causes of the sound, not opinions."""
