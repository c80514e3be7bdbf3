"""The command `messaging`."""
