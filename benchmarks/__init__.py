"""Measurements, each reproducible by one command. Never part of the tests."""
