"""Mutated deliveries from the signed request to the books."""
