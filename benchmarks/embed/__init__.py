"""The speed of embedding: the pipeline and the runtime, compared with fashion-clip and with a loop over open_clip."""
