"""What the launcher changes in the emulator, one file per service."""
