"""Pure numerics of security: what each party can have learned, and whether the returned light is honest.

Functions take numbers and arrays and return numbers and arrays: no state, files, clock or randomness.
"""
