"""Inputs that are damaged or made to do harm, with what is expected of each."""
