"""Shared parts of the HTML pages: style, plots, thumbnails and number formats."""
