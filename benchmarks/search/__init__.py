"""The speed of search by vector, exact and approximate, with and without filters, compared with LanceDB and FAISS."""
