"""What pages of a run have in common: style, plots, thumbnails, and how numbers are written."""
