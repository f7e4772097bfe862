"""Examples that run from an installed wsredis; `wsredis demo` starts the first of them."""
