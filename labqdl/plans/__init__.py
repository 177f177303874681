"""Plans for the engine: generators of commands. The only room where protocol and link meet."""
