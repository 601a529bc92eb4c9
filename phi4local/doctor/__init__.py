"""What is right and wrong with this machine and this installation, shown by trying it."""
