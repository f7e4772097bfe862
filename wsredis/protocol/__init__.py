"""Wire formats as pure functions and parsers: framing, close codes, header syntax. No I/O."""
