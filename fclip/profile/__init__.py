"""What a catalog holds, for people and for the next catalog to be compared with."""
