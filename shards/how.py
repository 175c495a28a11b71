"""How a track is read, in the way that touches the fewest bytes; a column of plan rows."""

FRAMES, SAMPLES, OPENED, SANDBOXED = range(4)
"""
FRAMES    packed FLAC: the frames of each window by the seek table, one range each
SAMPLES   packed WAV: the window's samples where they lie, read into place
OPENED    FLAC and WAV that lay in tars before, and whatever is not as it should be: by libsndfile
SANDBOXED originals: decoded as a whole in a sandbox (see `sandboxed`)
"""
