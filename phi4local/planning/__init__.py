"""What fits and which tensor gets which type: arithmetic only, nothing is read or loaded."""
