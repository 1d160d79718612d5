"""The page of `capsnet-dist demo`: draw, and see what the capsules of a network make of it."""
