"""A chat with htmx: a view publishes HTML, and htmx puts it into the pages."""
