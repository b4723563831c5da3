"""Attacks, tokens, ownership, secrets and TLS."""
