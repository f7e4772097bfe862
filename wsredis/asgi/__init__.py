"""A host for ASGI 3 applications: their websockets, on a WSGI server.

`host.AsgiHost` belongs to a middleware and a process. It makes an `endpoint.AsgiEndpoint` for each
websocket, and runs the application for it on the asyncio loop of the process. Only modules of this
package import asyncio, and only a process that hosts an application imports them.
"""
