"""Suites: named, versioned protocols that ask a predictor about samples."""
