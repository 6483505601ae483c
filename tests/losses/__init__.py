"""Losses right and wrong, kept aside for the tests of xent check."""
