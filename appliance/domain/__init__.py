"""The words everything else speaks. Standard library only: no asyncio, no sockets, no third-party package."""
