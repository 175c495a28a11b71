"""Tables about tracks → label sets beside an index: joined, typed, split."""
