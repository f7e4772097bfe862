// Types of wsredis.htmx.esm.js: the extension for htmx 2 and 4.

/** Add the extension "wsredis" to htmx, the object that htmx's own module or script provides. */
export function register(htmx: object): void;
