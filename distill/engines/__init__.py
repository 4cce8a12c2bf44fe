"""Engines that spread numbered tasks over processes and machines."""
