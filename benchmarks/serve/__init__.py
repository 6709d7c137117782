"""The load that the search service bears, compared with the same encoder and index called in process."""
