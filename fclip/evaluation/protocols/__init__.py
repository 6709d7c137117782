"""The protocols: what is measured, and how. One file each (`registry` says what a protocol declares)."""
