"""What a run says of itself: metrics on disk, in TensorBoard and other loggers, and progress on the terminal."""
