"""The simulated instruments that ship, one module a family; each ends with `TWIN = <class>`."""
