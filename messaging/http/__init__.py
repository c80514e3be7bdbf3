"""The HTTP side: health, the Appwrite-compatible API, the console."""
