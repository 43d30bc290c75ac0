"""Lesson 01's detectors: what to look for in data before training on it."""
