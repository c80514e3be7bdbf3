"""The console: pages for those who run the system, beside the API in the same process."""
