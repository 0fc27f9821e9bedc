"""Mutation testing: small seeded errors are put into the code one at a time, and the tests must notice each."""
