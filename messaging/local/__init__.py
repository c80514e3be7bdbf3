"""The whole stack on one machine: embedded PostgreSQL and Valkey, the processes, the provider sandbox."""
