"""The search service: embeddings, search and pictures over HTTP, on the light runtime."""
