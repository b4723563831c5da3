"""The five contracts: their documented behaviour, descriptions, recordings and real clients."""
