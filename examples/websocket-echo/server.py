"""Sends every message back."""
import asyncio
import os

import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(echo, os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8765"))):
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main())
