"""What is timed: one part of one model in one runtime."""
