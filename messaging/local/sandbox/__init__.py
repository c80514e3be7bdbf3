"""The provider sandbox: five providers' real protocols on loopback, a record of what arrived, faults on demand."""
