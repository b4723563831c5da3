"""Apps as people deploy them, with the engine inside; each answer says which process gave it."""
