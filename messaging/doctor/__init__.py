"""What is wrong with an installation: one small function a check, each with what it found and what to do."""
