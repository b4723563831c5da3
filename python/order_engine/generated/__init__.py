"""Modules written by `make generate` from the native module. Do not edit them."""
