"""What fclip-tiny scores, what it started from, and the wordings that its classes are judged by."""
