"""Tests of the connectors, against local servers and peers."""
