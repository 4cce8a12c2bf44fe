"""Where simulated users click, and which points and boxes are asked."""
